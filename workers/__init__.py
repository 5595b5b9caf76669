"""The method, step by step: frozen values that turn one record into the next. No queues, files or retries here."""
