-- One row: one trial of a search for the largest stable lr; passed if its search found a lr that holds and one
-- that fails, the first below the second. A trial that ended by no doing of its own says nothing. One holds if it ends below the loss of a network that knows nothing: ln 10 of cross-entropy,
-- 1/2 of squares.
WITH finals AS (
    SELECT trial_id, arg_max(train_loss, step) AS final FROM metrics GROUP BY trial_id
),
asked AS (
    SELECT
        t.trial_id,
        t.lr,
        concat_ws('/', t.seed, t.task, t.rule, t.schedule, t.warmup_steps) AS search,
        t.state = 'done'
        AND coalesce(isfinite(f.final) AND f.final < if(t.task LIKE 'digits_squares@%', 0.5, ln(10)), false)
            AS held
    FROM trials AS t
    LEFT JOIN finals AS f USING (trial_id)
    WHERE t.trial_id IN (SELECT trial_id FROM plans WHERE role = 'edge') AND t.state IN ('done', 'diverged')
)
SELECT
    trial_id,
    coalesce(max(lr) FILTER (held) OVER one < min(lr) FILTER (NOT held) OVER one, false) AS passed
FROM asked
WINDOW one AS (PARTITION BY search)
