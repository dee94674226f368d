"""Estimators of models that are there already: files and objects of the frameworks' own."""
