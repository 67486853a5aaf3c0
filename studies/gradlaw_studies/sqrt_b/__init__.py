"""Does mini-batch noise fall as B^(-1/2)? See the README beside this file."""
