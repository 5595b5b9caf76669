<<<<<<< HEAD
"""Text that is made to be slow to read."""
=======
"""No text of a model, a provider or the input stops the service."""
>>>>>>> h-text
