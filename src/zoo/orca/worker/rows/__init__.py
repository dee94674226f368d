"""A worker's rows: spooled by its task, mapped and cut into steps by its child."""
