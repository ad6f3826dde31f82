"""Remote calls: who answers which method, who of them is chosen, and which calls are waiting.

Pure tables that know no messages; the node carries calls and results.
"""
