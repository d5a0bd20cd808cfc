"""DICOM, NIfTI and pictures to cine stacks, and where these lie in the patient."""
