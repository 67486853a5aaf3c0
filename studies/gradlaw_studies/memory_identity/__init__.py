"""The study ``memory_identity``: what an optimizer's memory does to the loss it descends."""
