"""Stands in for Colab's own package, which is not on PyPI: what helpers and anywidget use of it."""
