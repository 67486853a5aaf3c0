-- One row: one trial of a search for the largest stable lr; held: whether its lr holds, which it does if training ends
-- below the loss of a network that knows nothing: ln 10 of cross-entropy, 1/2 of squares. sharpness: the largest along
-- it. A trial that ended by no doing of its own says nothing, and is left out.
SELECT
    t.*,
    e.sharpness,
    t.state = 'done'
    AND coalesce(isfinite(e.final) AND e.final < if(t.task LIKE 'digits_squares@%', 0.5, ln(10)), false) AS held
FROM trials AS t
LEFT JOIN (
    SELECT trial_id, arg_max(train_loss, step) AS final, max(sharpness) AS sharpness FROM metrics GROUP BY trial_id
) AS e USING (trial_id)
WHERE t.trial_id IN (SELECT trial_id FROM plans WHERE role = 'edge') AND t.state IN ('done', 'diverged')
