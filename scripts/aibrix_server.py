"""Starts AIBrix's metadata service (files and batches) in front of any OpenAI server. Run it by the Python with AIBrix.

    python aibrix_server.py http://127.0.0.1:8001 --host 127.0.0.1 --port 8090

Its ``--dry-run`` keeps everything in the current folder and needs neither Redis nor Kubernetes, but echoes each
request. Here the source of these echoes is replaced by the server that the first argument names.
"""

import sys

from aibrix.batch.client.sources.static import GatewayEndpointSource
from aibrix.metadata import app

ANSWER_SECONDS = 600.0

if __name__ == "__main__":
    gateway = sys.argv.pop(1)
    app.NoopEndpointSource = lambda: GatewayEndpointSource(gateway, timeout=ANSWER_SECONDS)
    sys.argv.append("--dry-run")
    app.main()
