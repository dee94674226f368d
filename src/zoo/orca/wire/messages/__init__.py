"""Every message between driver, task and child: frozen values that encode themselves."""
