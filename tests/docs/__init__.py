"""The documentation says of the code what is so."""
