-- What of a session decides what a statement's text means in it.
SELECT array_to_json(current_schemas(true)), (now() <> statement_timestamp())::text, pg_is_in_recovery()::text,
       concat_ws('/', (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), extract(epoch FROM pg_postmaster_start_time())),
       EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema())::text, current_setting('standard_conforming_strings'),
       pg_client_encoding()
