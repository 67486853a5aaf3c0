-- One row: one trial, and whether it finished: its state is 'done', not diverged nor failed.
SELECT t.trial_id, t.state = 'done' AS passed
FROM trials AS t
