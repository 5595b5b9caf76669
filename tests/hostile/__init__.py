"""No text of a model, a provider or the input stops the service."""
