"""What comes out of files is checked as a whole before any of it is used."""
