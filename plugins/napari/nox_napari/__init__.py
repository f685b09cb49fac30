"""Star removal in napari (the widget is not written yet)."""
