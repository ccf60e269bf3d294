"""The notebook face of the explorer: one widget with the tree and, for a run, a dashboard.

Importing this loads neither anywidget nor matplotlib; showing an explorer in a notebook does.
"""

from freezeviz.widgets._face import explore

__all__ = ["explore"]
