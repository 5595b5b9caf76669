"""What an endpoint may be asked at once and per minute, as configured and as its 429s teach."""
