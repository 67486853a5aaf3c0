"""The engine: packs of trials, each written for one trial, run as one batched program.

Entry: :func:`gradlaw.engine.run.run_pack`.
"""
