"""Streams beside the engine alone and beside what one would write without this project."""
