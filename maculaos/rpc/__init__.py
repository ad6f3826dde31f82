"""Remote calls: who answers which method, and which calls are waiting.

Pure tables. There is no streaming and no cancellation; the node carries calls and results.
"""
