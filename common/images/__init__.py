"""Images of any microscope: reading them, their grey values, size, magnification and modality."""
