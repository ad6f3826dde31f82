"""What each step of a build does: it joins the rooms beside it, and decides nothing of its own.

A step reads the outputs of the steps that it needs and writes files into the folder that it is
given. Which steps there are, and in which order, is said in ``assembly``.
"""
