"""The study ``lion_adamw``: does memory (anti-)regularise, and how do Lion and AdamW compare when tuned alike?"""
