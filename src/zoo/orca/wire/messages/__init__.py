"""Every message between driver, task and child; each is a frozen value that knows its own bytes."""
