"""From a study's preset to packs: expanded, checked whole, cut, estimated. Nothing here runs a trial."""
