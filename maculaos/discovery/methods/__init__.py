"""The ways of looking for nodes, one in each module; ``maculaos.discovery.registry`` finds them.

They are shells: each carries out what small pure modules beside this package decide.
"""
