"""Images of any microscope: reading them, grey values, modality, magnification, resizing and cutting into windows."""
