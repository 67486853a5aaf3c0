"""What a run needs of a machine, a cluster and a store, looked at before it does: ``gradlaw doctor``."""
