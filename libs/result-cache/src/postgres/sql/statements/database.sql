-- Which database this is, as entity-tables.sql says it.
SELECT d.oid || ' ' || pg_postmaster_start_time() FROM pg_database d WHERE d.datname = current_database()
