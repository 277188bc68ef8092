-- key: rg_78d99180__6_BYv570gtKsdaGA5opDCyt4LM0iAJ3WMF6S9ASW_o
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id character varying(200) NOT NULL,
    name character varying(200) NOT NULL,
    prefix character varying(200) NOT NULL,
    hash text NOT NULL,
    scopes json NOT NULL,
    created_ms bigint NOT NULL,
    revoked_ms bigint
);
CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    at_ms bigint NOT NULL,
    key_id character varying(200),
    key_name character varying(200),
    action character varying(200) NOT NULL,
    target character varying(200) NOT NULL,
    detail json NOT NULL
);
CREATE SEQUENCE public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_log_id_seq OWNED BY public.audit_log.id;
CREATE TABLE public.comparisons (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    workload_id character varying(200) NOT NULL,
    profiles json NOT NULL
);
CREATE TABLE public.deployments (
    generation bigint NOT NULL,
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    plan_id character varying(200) NOT NULL,
    rollback_of bigint,
    deployed_by character varying(200),
    instances bigint NOT NULL,
    gpus bigint NOT NULL,
    body bytea NOT NULL,
    on_drift character varying(20)
);
CREATE TABLE public.drifts (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    generation bigint NOT NULL,
    plan_id character varying(200) NOT NULL,
    workload_id character varying(200) NOT NULL,
    run_id character varying(200) NOT NULL,
    mode character varying(20) NOT NULL,
    state character varying(20) NOT NULL,
    outlook json NOT NULL,
    applied_as bigint,
    detail text
);
CREATE TABLE public.exit_windows (
    number bigint NOT NULL,
    generation bigint NOT NULL,
    ended_ms bigint NOT NULL,
    outlook json,
    body bytea NOT NULL
);
CREATE TABLE public.idempotency_records (
    key_id character varying(200) NOT NULL,
    idempotency_key character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    fingerprint character varying(200) NOT NULL,
    status bigint NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE public.node_gpus (
    gpu_id character varying(200) NOT NULL,
    node_id character varying(200) NOT NULL
);
CREATE TABLE public.node_status (
    node_id character varying(200) NOT NULL,
    reported_ms bigint NOT NULL,
    generation bigint NOT NULL,
    workers json NOT NULL,
    exits json
);
CREATE TABLE public.nodes (
    id character varying(200) NOT NULL,
    name character varying(200) NOT NULL,
    address character varying(200) NOT NULL,
    gpus json NOT NULL,
    created_ms bigint NOT NULL,
    registered_ms bigint NOT NULL,
    lease_until_ms bigint NOT NULL
);
CREATE TABLE public.plan_runs (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    workload_id character varying(200) NOT NULL,
    profiles json NOT NULL,
    comparison_id character varying(200),
    strategy character varying(200) NOT NULL,
    settings json NOT NULL,
    submitted_by character varying(200),
    state character varying(20) NOT NULL,
    wanted character varying(20),
    attempts bigint NOT NULL,
    fence bigint NOT NULL,
    lease_owner character varying(200),
    lease_until_ms bigint,
    started_ms bigint,
    finished_ms bigint,
    progress json,
    failure json,
    plan_id character varying(200)
);
CREATE TABLE public.plans (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    run_id character varying(200),
    workload_id character varying(200) NOT NULL,
    profiles json NOT NULL,
    digest character varying(200) NOT NULL,
    strategy character varying(200) NOT NULL,
    status character varying(200) NOT NULL,
    share double precision NOT NULL,
    gpus bigint,
    lower_bound double precision,
    gap double precision,
    seconds double precision,
    stages bigint NOT NULL,
    instances bigint NOT NULL,
    unplanned bigint NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE public.profiles (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    model character varying(200) NOT NULL,
    gpu character varying(200) NOT NULL,
    layers bigint NOT NULL,
    batches json NOT NULL,
    shares json NOT NULL,
    measured json NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE public.run_events (
    run_id character varying(200) NOT NULL,
    seq bigint NOT NULL,
    at_ms bigint NOT NULL,
    kind character varying(20) NOT NULL,
    data json NOT NULL
);
CREATE TABLE public.workloads (
    id character varying(200) NOT NULL,
    created_ms bigint NOT NULL,
    fragments bigint NOT NULL,
    clients bigint NOT NULL,
    gpus bigint NOT NULL,
    models json NOT NULL,
    body bytea NOT NULL,
    derived_from character varying(200),
    derivation json
);
ALTER TABLE ONLY public.audit_log ALTER COLUMN id SET DEFAULT nextval('public.audit_log_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0004');
INSERT INTO public.api_keys VALUES ('key_01a21ec75e00726552911697ed9e', 'fixture', '78d99180', '$argon2id$v=19$m=19456,t=2,p=1$pEvW7MpEru7S1wlcWLD9JQ$LveDNObWBWlDo8Dk/3X2yiCxxj9BOt5q3RBwV5wz7jA', '["read", "plan", "deploy", "agent"]', 1795812711938, NULL);
INSERT INTO public.api_keys VALUES ('key_01a21ec75e5278ccb52ac7ea3231', 'test read+plan+deploy+agent', '20434482', '$argon2id$v=19$m=19456,t=2,p=1$SdNgFxo6zpn2XAncZUKI4w$9XyzvuijxOeGmseLIFTks4QgbTge2WnSxhLh9I1fmxk', '["read", "plan", "deploy", "agent"]', 1795812712019, NULL);
INSERT INTO public.api_keys VALUES ('key_01a21ec75e7918bb6aa744dbe4a7', 'test read+plan+deploy+agent', 'dcd404dd', '$argon2id$v=19$m=19456,t=2,p=1$coW3qwf+qnX7KHL0EOdD/g$JvBecNsRMg10/czVcOvoXHeHWZSt83nzW2GgD9r22Ik', '["read", "plan", "deploy", "agent"]', 1795812712059, NULL);
INSERT INTO public.api_keys VALUES ('key_01a21ec764685a5bd99e056fc23c', 'test read+plan+deploy+agent', 'ea5b4268', '$argon2id$v=19$m=19456,t=2,p=1$HjcMUWY0axvlXq7LptjB+w$jzkbYcpuiUBayk3PEOGTz+E/uJWtmyhYp0uvatBcY+U', '["read", "plan", "deploy", "agent"]', 1795812713578, NULL);
INSERT INTO public.audit_log VALUES (1, 1795812711941, NULL, NULL, 'key.create', 'key_01a21ec75e00726552911697ed9e', '{"name": "fixture", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (2, 1795812712021, NULL, NULL, 'key.create', 'key_01a21ec75e5278ccb52ac7ea3231', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (3, 1795812712061, NULL, NULL, 'key.create', 'key_01a21ec75e7918bb6aa744dbe4a7', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (4, 1795812713336, 'key_01a21ec75e5278ccb52ac7ea3231', 'test read+plan+deploy+agent', 'deploy', '1', '{"plan": "plan_01a21ec760ec5d359d01d7ccd5cf"}');
INSERT INTO public.audit_log VALUES (5, 1795812713348, 'key_01a21ec75e5278ccb52ac7ea3231', 'test read+plan+deploy+agent', 'deploy', '2', '{"plan": "plan_01a21ec763294660ea5928513c65"}');
INSERT INTO public.audit_log VALUES (6, 1795812713364, 'key_01a21ec75e5278ccb52ac7ea3231', 'test read+plan+deploy+agent', 'rollback', '3', '{"plan": "plan_01a21ec760ec5d359d01d7ccd5cf", "of": 1}');
INSERT INTO public.audit_log VALUES (7, 1795812713580, NULL, NULL, 'key.create', 'key_01a21ec764685a5bd99e056fc23c', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.comparisons VALUES ('comparison_01a21ec75ed143f93b2387736df4', 1795812712146, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]');
INSERT INTO public.deployments VALUES (1, 'deployment_01a21ec76376249c92ee42cea73b', 1795812713335, 'plan_01a21ec760ec5d359d01d7ccd5cf', NULL, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da', NULL);
INSERT INTO public.deployments VALUES (2, 'deployment_01a21ec76382187dd56502ccddab', 1795812713347, 'plan_01a21ec763294660ea5928513c65', NULL, 'test read+plan+deploy+agent', 3, 1, '\x789cb5935b4ec3301045f732dfc67826b1f3d80aaaaa34356905712ac715a0aa7b679c50aa00add24afc447e4cee3df65c1fa00f55637b289f0eb05d4309bd02016db7b6af3c7136f0acd9ed795cf357c4721fa05402ace3f25cc0aa0af5064ae4bd4de52d94a4056c1d17ba3a0af3867db7f5b2e571a2245161323a8a931dceb1c3fbec484ba3729515673b9a634777da91cc8d3299392e04f86e1fbeeef5d9574d6b1d0bc36ed339fb10af9817ebb0ed1c4b4825ce6d880de0dfdf3adf8741d52899ea2249d39fe0e756acf6ebc68ed5b98a6abe0a76e977918fe7f1f4bf18f02a034e19344a42833abfc0801386622e035d65a02943aa65469868bac040130654732192ff6b06e25f10a3e08bf5633a06b3d3c33b256b501a93e9d8e7a17ae4800eb9696ddbf98f65bbe2ae1072beb378aa6f11bc59047359643811a19b455426895ff5e2f809e9524db1', NULL);
INSERT INTO public.deployments VALUES (3, 'deployment_01a21ec7639361b593d17a45570e', 1795812713364, 'plan_01a21ec760ec5d359d01d7ccd5cf', 1, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da', NULL);
INSERT INTO public.exit_windows VALUES (1, 3, 1795812713582, '[]', '\x789cab564ace2fcd2b2956b2aaaed5512a4a4d4cc9cc4b07716a017f660987');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', '5dc1022b730246d485adbe53ce9c86e8', 1795812712123, '04dc2c52363f58bb02062ae3fca32df4d6dbbbb4a0305a1500941adc91fcf632', 201, '{"Location": "/v1/workloads/sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc"}', '\x7b226964223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35322e3132343030305a222c22667261676d656e7473223a342c22636c69656e7473223a342c2267707573223a302c226d6f64656c73223a5b226e6574225d2c22646572697665645f66726f6d223a6e756c6c2c2264657269766174696f6e223a6e756c6c7d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', '69622fb698224135afcb29133774ae2c', 1795812712130, '59146a3c9844c48286c75f7f3b39ef93952b07baa7043a5c89a4bbef07a8bf25', 201, '{"Location": "/v1/profiles/sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"}', '\x7b226964223a227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35322e3133333030305a222c226d6f64656c223a226e6574222c22677075223a22637075222c226c6179657273223a382c2262617463686573223a5b312c322c345d2c22736861726573223a5b32352e302c35302e302c3130302e305d2c226d65617375726564223a7b7d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', 'd536f727374c437591b66bdb7a0bc3b0', 1795812712144, 'f7e7a979e3581a835a1199969941cc3ef2ef3ea27a2859f1b17fcd5292d14949', 202, '{"Location": "/v1/comparisons/comparison_01a21ec75ed143f93b2387736df4"}', '\x7b226964223a22636f6d70617269736f6e5f30316132316563373565643134336639336232333837373336646634222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35322e3134363030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22646f6e65223a66616c73652c22726f7773223a5b7b227374726174656779223a2267736c696365222c2272756e223a2272756e5f30316132316563373565643332653136363063366666373331383039222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d2c7b227374726174656779223a226772616674222c2272756e223a2272756e5f30316132316563373565643633356165643135376265353834366638222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d5d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', 'e023842dc9964228a6fbe129f0a647aa', 1795812713334, '02660435b0ddb260516dd062877d37d3b5ffa140993795f7897488ab0d91fee6', 201, '{"Location": "/v1/deployments/1"}', '\x7b2267656e65726174696f6e223a312c226964223a226465706c6f796d656e745f30316132316563373633373632343963393265653432636561373362222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35332e3333353030305a222c22706c616e223a22706c616e5f30316132316563373630656335643335396430316437636364356366222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c226f6e5f6472696674223a6e756c6c2c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', '6c9aa95caa2f4ee39cca34b1a4683705', 1795812713346, '17abae82cf4fcb36985a1c80d9df6e8d0bba9a27b16cfecd0e1d69196a1d695e', 201, '{"Location": "/v1/deployments/2"}', '\x7b2267656e65726174696f6e223a322c226964223a226465706c6f796d656e745f30316132316563373633383231383764643536353032636364646162222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35332e3334373030305a222c22706c616e223a22706c616e5f30316132316563373633323934363630656135393238353133633635222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c226f6e5f6472696674223a6e756c6c2c22696e7374616e636573223a332c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e5278ccb52ac7ea3231', '9f580d0dbf0c420eb16f80390eac9656', 1795812713363, 'e0e3551f6e841454fbc574ec9ab6ac5e1a6bc76f1f87207ee2fd811fbf1447bf', 201, '{"Location": "/v1/deployments/3"}', '\x7b2267656e65726174696f6e223a332c226964223a226465706c6f796d656e745f30316132316563373633393336316235393364313761343535373065222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35332e3336343030305a222c22706c616e223a22706c616e5f30316132316563373630656335643335396430316437636364356366222c22726f6c6c6261636b5f6f66223a312c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c226f6e5f6472696674223a6e756c6c2c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a21ec75e00726552911697ed9e', 'fixture', 1795812713646, '190a23bebc7467891c3825c4c37a6cee9ae9255c01422c415384e89227fd1f33', 202, '{"Location": "/v1/plan-runs/run_01a21ec764b020155946984ac25f"}', '\x7b226964223a2272756e5f30316132316563373634623032303135353934363938346163323566222c22637265617465645f6174223a22323032362d31312d32375432303a35313a35332e3634393030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22636f6d70617269736f6e223a6e756c6c2c227374726174656779223a226772616674222c2273657474696e6773223a7b2274696d655f6c696d69745f73223a36302e302c22676170223a302e302c2273656564223a302c2274687265616473223a322c22696e6665617369626c65223a226661696c222c227175657565696e67223a22706c61696e227d2c227374617465223a22717565756564222c2277616e746564223a6e756c6c2c22617474656d707473223a302c22737461727465645f6174223a6e756c6c2c2266696e69736865645f6174223a6e756c6c2c2270726f6772657373223a6e756c6c2c226661696c757265223a6e756c6c2c22706c616e223a6e756c6c7d');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-0', 'node_01a21ec7635b01483d41879641c7');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-1', 'node_01a21ec7635b01483d41879641c7');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-2', 'node_01a21ec7635b01483d41879641c7');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-3', 'node_01a21ec7635b01483d41879641c7');
INSERT INTO public.node_status VALUES ('node_01a21ec7635b01483d41879641c7', 1795812713355, 2, '[{"generation": 2, "stage": "s0", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s1", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s2", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}]', '[{"gateway": "gateway-a", "generation": 2, "fragments": {"phone-0": {"answered": 100, "left": {"3": 40}, "lost": {}}}}]');
INSERT INTO public.nodes VALUES ('node_01a21ec7635b01483d41879641c7', 'node-a', 'http://127.0.0.1:9100', '[{"id": "node-a/cpu-0", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-1", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-2", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-3", "type": "cpu", "memory_mb": 8000.0}]', 1795812713309, 1795812713309, 1795812722355);
INSERT INTO public.plan_runs VALUES ('run_01a21ec75ed32e1660c6ff731809', 1795812712147, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a21ec75ed143f93b2387736df4', 'gslice', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a21ec75e5278ccb52ac7ea3231', 'succeeded', NULL, 1, 1, NULL, NULL, 1795812712158, 1795812712688, NULL, NULL, 'plan_01a21ec760ec5d359d01d7ccd5cf');
INSERT INTO public.plan_runs VALUES ('run_01a21ec75ed635aed157be5846f8', 1795812712151, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a21ec75ed143f93b2387736df4', 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a21ec75e5278ccb52ac7ea3231', 'succeeded', NULL, 1, 1, NULL, NULL, 1795812712693, 1795812713260, NULL, NULL, 'plan_01a21ec763294660ea5928513c65');
INSERT INTO public.plan_runs VALUES ('run_01a21ec764b020155946984ac25f', 1795812713649, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', NULL, 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a21ec75e00726552911697ed9e', 'queued', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.plans VALUES ('plan_01a21ec760ec5d359d01d7ccd5cf', 1795812712685, 'run_01a21ec75ed32e1660c6ff731809', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:8f4aa15f3957d0373abad6554603f463efa40b1f165559fdc6ff57095591e21b', 'gslice', 'feasible', 100, NULL, 75, 0.25, 0.002579426998636336, 4, 4, 0, '\x789cbd94db6edb300c86df45d79ea743245979956208688976bcd9722acbe98620ef3eca695714eb82a217f3852191d4f79b07f9c2ba394d90d99e25ec1374b93e8d10bf9e05abd8921364ec7f91b35fc6c1e36683bc2e64e91096a11d8b6d6ebfa3cfc319d9fec29623245a08ce6b5eb1fe5482e33a8ed78a8df313a6433baf31b0bdd59b1f4e6ccf6ba937728f14fc706103f9d9c2093dcd0147da44cc6ca3d1dad37b0b4ff4d9c4c0826b2ad642f64752ae5ebea150874881d1173039f027fac3446b459ad2192bafd58b9cf8bf72f22372e2737252d78637dcba5739f51139f949395937861b6baedf2a96e6353fb7b14bd04f18cb709d8e73c42fa5a364a459992321ca00fce97ae9371d7f9ad39237aae1f54e3bb5db9524fe4289bb28f916a5452d8511ba791725efa2d45bd44ed7560aa5e5bb28751725fe952099e9d679bcb11e68bbc6720d2386dbf694e633c652fa72c568d70de333f408529b3d517ce33d76be55de764206d92a2eb4b3e884ea9c066d8372c15b942800380fcab6ca3a90de2aff52fa1fe30cdbb8dca82e043036c886f356527f79072e688e8673008d06db063b0052c3400fb6d0a84e092fed8e63d37aaac619d3b21583f19aea51660d4b56a532e8e7189672ff3997daba9d34ce354619a54c71e73cc47e2919e761c2c3384c433edc0af7faeba0553e268402a2f97d5c71453a565a32c210d9f57afd0dc0b27b43');
INSERT INTO public.plans VALUES ('plan_01a21ec763294660ea5928513c65', 1795812713258, 'run_01a21ec75ed635aed157be5846f8', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:5bb2d8fef835ee16f1ca2ede5904803231100167618c80dc8ca7294e1f8579ac', 'graft', 'optimal', 75, NULL, 75, 0, 0.04491691299881495, 3, 3, 0, '\x789c9d93db8edb201040ff8567d7e5628cc9afacaa680ce3c4ad0d29c6d95651febd83b3691575b55ac50f1673e10c73bbb021a61932dbb184870443ae4f1384af67c12ab6e404190fbfc9b8993615e47521453ce571868954b1ff8e2e8f6764bb0b5b8e90e86074cd2b763815d7b04ed3b562537cc5b4efe31afc5f3b9cd88e9713610f48be2f173692992d9cc073f4389110b04426189d1dfd37f7444fa68b58685dc57ac8eec876a2babf40ea8a8d811c832b6032e02f74fb99ce8ad752dad6c86b750f273e134e3c174eeabae51d37f65f38f99970f2c970b2ee5ade9af6faad6229aef9adae4382c38ca174fa748c01bf941293925a1703211eda501a40d75f635af2466d79dd68ab9aa624f11f4a7c88128f282d6a295aa1bb7751f243947c4435ba3652282ddf45a9e7122435ad80c31beb85c435949d08e86fe229c5338652fa32f1240de3f4063d82d4ed8e28ae730e07d72b670621bdec1517da1ab4420d5683365e59ef0c4a14009c7b657a652c486794bbbfecc714611b971bd57a0fadf1b2e3bc97d45f3e80f59a63cb3980c616fb0e07008a869e3eeca15383124e9a8663d73baac619d3b21583f19aea51660d4b56a532e862f0cbb68f4d63456b85b4b6eb446375b1e63c86c35212a6bdc7fd34ce63dedfeaf6b0c9f998100a87c6f7e78a2bd2b5d29109c6c0aed7eb1f781459cc');
INSERT INTO public.profiles VALUES ('sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0', 1795812712133, 'net', 'cpu', 8, '[1, 2, 4]', '[25, 50, 100]', '{}', '\x789c3553d14e23310cfc977d8e72b6633b09bf52a16a294b8b44295a16ee10e2df6f9cd23e6cbdf166663cb6bfa7a7cb7a9eb7e96e5a97e33a3f6df96dbd3c3dbf2c7f3e794ad3f9f2b8bc20f9ba6c783bbe7d203ee099a697f96b59dfa7bbdd35a2db11df02b905e516e82db05be0b7a04ef7697a98b7c369094c4e921427efa7791d0762c92831d17d5cd896d7c3d7fe1c89dd4eb30b5b2f49b2b5a6c289b36aaff769e759a577aaa9642716327c43ecbd30924c99d4ad68322078ad8acfd8b874bd477a27b96a552a80b35a5413e54e8c1f9281578391dc3a293ee156580d29cb452af50023a356044900095f5139bbb6d603cc496a4360d6655c952ca4d2024e5aa95291c455671b94852d4839f7428e2448458bd92faea104e2a1d2443d8045c03b808b91f79052500b40000c867e05eeec5e1dd588f315b890752d03587373d8a948b7068a1050b930f7abc12e4044b1adc0bab044aa7516247b766b150658ae859b85254a1cad09601b5a5c86eb8d5ba86bceb88d6ccb849fd5a42073a801706dc42580b9c01f53d45841cb8d159f417a6bbf8a0b1ce58a2b68a0d42848494be7d19e4ee28dc10a4f8ac6b4a0adae32587b435b1a1433890602de59f517b773c11885148c90866014d82d5cac99bb776e50421df5849d057e8ec6322c73854d9e2152ab855f24267022a67c9b8fcbfef2b9aca7657e1c734df0244d878f6dfff0b58d0df030845211cc0036a172d48fcee1a90db213c81a4a2dbdb75415762a8d75f9bb3c1f4fdbfefc106b94bd78821cef1ddb044bc71ff600d2a441961950738b2dc27c452fa6f9b03d7fcedbf3e5f50a02c37cf4d263287ab1b1403179550aea37f1a8afc690bb39100e97d76df977d5a006be387adff66fcbba1f2b3edd711c9e97f9fd635d1ea7bbef9f9fff99211bc1');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed32e1660c6ff731809', 1, 1795812712150, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed635aed157be5846f8', 1, 1795812712152, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed32e1660c6ff731809', 2, 1795812712160, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed32e1660c6ff731809', 3, 1795812712689, 'state', '{"state": "succeeded", "plan": "plan_01a21ec760ec5d359d01d7ccd5cf"}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed635aed157be5846f8', 2, 1795812712695, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed635aed157be5846f8', 3, 1795812713261, 'progress', '{"t": 0.0027664459994412027, "phase": "re-aligned net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed635aed157be5846f8', 4, 1795812713261, 'progress', '{"t": 0.020108741999138147, "phase": "searched net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a21ec75ed635aed157be5846f8', 5, 1795812713261, 'state', '{"state": "succeeded", "plan": "plan_01a21ec763294660ea5928513c65"}');
INSERT INTO public.run_events VALUES ('run_01a21ec764b020155946984ac25f', 1, 1795812713652, 'state', '{"state": "queued"}');
INSERT INTO public.workloads VALUES ('sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', 1795812712124, 4, 4, 0, '["net"]', '\x789c95cfc10e82300c06e077e979e28a17e5558c21d37568641b29450f8477b7f1b603468e7ffbf74b3a43c81c9d40034c1dbb20d53bf3b3cfceef5f080602bb2e5292119af30c0fafc5e19e13edac2e63f6d4eb2491681ac5b142d6c075f21d491bf5e8682b1db0136a79d08cdf7ccb53d22a2ea63071cdc4c23c6d31eb35b32e4cb45bd0c37fcf23fe462fcb07bd2c76ac', NULL, NULL);
SELECT pg_catalog.setval('public.audit_log_id_seq', 7, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT pk_audit_log PRIMARY KEY (id);
ALTER TABLE ONLY public.comparisons
    ADD CONSTRAINT pk_comparisons PRIMARY KEY (id);
ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT pk_deployments PRIMARY KEY (generation);
ALTER TABLE ONLY public.drifts
    ADD CONSTRAINT pk_drifts PRIMARY KEY (id);
ALTER TABLE ONLY public.exit_windows
    ADD CONSTRAINT pk_exit_windows PRIMARY KEY (number);
ALTER TABLE ONLY public.idempotency_records
    ADD CONSTRAINT pk_idempotency_records PRIMARY KEY (key_id, idempotency_key);
ALTER TABLE ONLY public.node_gpus
    ADD CONSTRAINT pk_node_gpus PRIMARY KEY (gpu_id);
ALTER TABLE ONLY public.node_status
    ADD CONSTRAINT pk_node_status PRIMARY KEY (node_id);
ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT pk_nodes PRIMARY KEY (id);
ALTER TABLE ONLY public.plan_runs
    ADD CONSTRAINT pk_plan_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT pk_plans PRIMARY KEY (id);
ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT pk_profiles PRIMARY KEY (id);
ALTER TABLE ONLY public.run_events
    ADD CONSTRAINT pk_run_events PRIMARY KEY (run_id, seq);
ALTER TABLE ONLY public.workloads
    ADD CONSTRAINT pk_workloads PRIMARY KEY (id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT uq_api_keys_prefix UNIQUE (prefix);
ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT uq_deployments_id UNIQUE (id);
ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT uq_nodes_name UNIQUE (name);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT uq_plans_run_id UNIQUE (run_id);
CREATE INDEX ix_audit_log_at_ms ON public.audit_log USING btree (at_ms);
CREATE INDEX ix_comparisons_created_ms_id ON public.comparisons USING btree (created_ms, id);
CREATE INDEX ix_drifts_created_ms_id ON public.drifts USING btree (created_ms, id);
CREATE INDEX ix_drifts_state ON public.drifts USING btree (state);
CREATE INDEX ix_idempotency_records_created_ms ON public.idempotency_records USING btree (created_ms);
CREATE INDEX ix_node_gpus_node_id ON public.node_gpus USING btree (node_id);
CREATE INDEX ix_nodes_registered_ms ON public.nodes USING btree (registered_ms);
CREATE INDEX ix_plan_runs_comparison_id ON public.plan_runs USING btree (comparison_id);
CREATE INDEX ix_plan_runs_created_ms_id ON public.plan_runs USING btree (created_ms, id);
CREATE INDEX ix_plan_runs_state_created_ms ON public.plan_runs USING btree (state, created_ms);
CREATE INDEX ix_plan_runs_workload_id ON public.plan_runs USING btree (workload_id);
CREATE INDEX ix_plans_created_ms_id ON public.plans USING btree (created_ms, id);
CREATE INDEX ix_plans_workload_id ON public.plans USING btree (workload_id);
CREATE INDEX ix_profiles_created_ms_id ON public.profiles USING btree (created_ms, id);
CREATE INDEX ix_profiles_model ON public.profiles USING btree (model);
CREATE INDEX ix_workloads_created_ms_id ON public.workloads USING btree (created_ms, id);
ALTER TABLE ONLY public.comparisons
    ADD CONSTRAINT fk_comparisons_workload_id_workloads FOREIGN KEY (workload_id) REFERENCES public.workloads(id);
ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT fk_deployments_plan_id_plans FOREIGN KEY (plan_id) REFERENCES public.plans(id);
ALTER TABLE ONLY public.drifts
    ADD CONSTRAINT fk_drifts_plan_id_plans FOREIGN KEY (plan_id) REFERENCES public.plans(id);
ALTER TABLE ONLY public.drifts
    ADD CONSTRAINT fk_drifts_run_id_plan_runs FOREIGN KEY (run_id) REFERENCES public.plan_runs(id);
ALTER TABLE ONLY public.drifts
    ADD CONSTRAINT fk_drifts_workload_id_workloads FOREIGN KEY (workload_id) REFERENCES public.workloads(id);
ALTER TABLE ONLY public.node_gpus
    ADD CONSTRAINT fk_node_gpus_node_id_nodes FOREIGN KEY (node_id) REFERENCES public.nodes(id);
ALTER TABLE ONLY public.node_status
    ADD CONSTRAINT fk_node_status_node_id_nodes FOREIGN KEY (node_id) REFERENCES public.nodes(id);
ALTER TABLE ONLY public.plan_runs
    ADD CONSTRAINT fk_plan_runs_comparison_id_comparisons FOREIGN KEY (comparison_id) REFERENCES public.comparisons(id);
ALTER TABLE ONLY public.plan_runs
    ADD CONSTRAINT fk_plan_runs_plan_id_plans FOREIGN KEY (plan_id) REFERENCES public.plans(id);
ALTER TABLE ONLY public.plan_runs
    ADD CONSTRAINT fk_plan_runs_workload_id_workloads FOREIGN KEY (workload_id) REFERENCES public.workloads(id);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT fk_plans_workload_id_workloads FOREIGN KEY (workload_id) REFERENCES public.workloads(id);
ALTER TABLE ONLY public.run_events
    ADD CONSTRAINT fk_run_events_run_id_plan_runs FOREIGN KEY (run_id) REFERENCES public.plan_runs(id);
