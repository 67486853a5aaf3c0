"""SQL that anyone may write, run where it can harm nothing."""
