"""The forms that rows may have when a user gives them, and gets predictions back in."""
