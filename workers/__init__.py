"""The method, step by step: frozen values that turn one record into the next. They know no queues, files or retries."""
