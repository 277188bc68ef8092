-- key: rg_c2961822_8vdYhNm1grAMeMTiief0j3mw9nO7LvsrraBaiDxKIM4
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
    workers json NOT NULL
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
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.api_keys VALUES ('key_01a20d0e4de23a4d9e8f227ca6c3', 'fixture', 'c2961822', '$argon2id$v=19$m=19456,t=2,p=1$g/kwB2qQSUgmxlaJhZF1hw$ehvkUlc6C/Fotf1ktI97HYbX6Hht8m0gm4xAitB1dzg', '["read", "plan", "deploy", "agent"]', 1795515370980, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20d0e4e7b2a91f420a3babd73', 'test read+plan+deploy+agent', '6419506e', '$argon2id$v=19$m=19456,t=2,p=1$rDZb3gJPuJWFmtbUbhojYQ$3VTXAfph4QLlo40pvhC6XO4eBOjBZyq01jfkcThSEqY', '["read", "plan", "deploy", "agent"]', 1795515371133, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20d0e4ecb38fb9943b6b4fc28', 'test read+plan+deploy+agent', '9cf2c481', '$argon2id$v=19$m=19456,t=2,p=1$OIHtE+X1n3FWPdxWpydt8g$oM6vxHvT2dCSSztU2Mg0XovhhrLeLvVjsMfNOu4LeRM', '["read", "plan", "deploy", "agent"]', 1795515371218, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20d0e58d07203b340ef80f504', 'test read+plan+deploy+agent', '280b0e8e', '$argon2id$v=19$m=19456,t=2,p=1$uwXL4abivoMYPcwMFMGNAQ$49/HddrQK/qJsMCjgn+L7qV4XbfcKETesEz0RI6Ias8', '["read", "plan", "deploy", "agent"]', 1795515373787, NULL);
INSERT INTO public.audit_log VALUES (1, 1795515370982, NULL, NULL, 'key.create', 'key_01a20d0e4de23a4d9e8f227ca6c3', '{"name": "fixture", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (2, 1795515371139, NULL, NULL, 'key.create', 'key_01a20d0e4e7b2a91f420a3babd73', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (3, 1795515371219, NULL, NULL, 'key.create', 'key_01a20d0e4ecb38fb9943b6b4fc28', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (4, 1795515373391, 'key_01a20d0e4e7b2a91f420a3babd73', 'test read+plan+deploy+agent', 'deploy', '1', '{"plan": "plan_01a20d0e520c0ecbcc3bb190bee3"}');
INSERT INTO public.audit_log VALUES (5, 1795515373415, 'key_01a20d0e4e7b2a91f420a3babd73', 'test read+plan+deploy+agent', 'deploy', '2', '{"plan": "plan_01a20d0e56d146634e663f4b7bd0"}');
INSERT INTO public.audit_log VALUES (6, 1795515373455, 'key_01a20d0e4e7b2a91f420a3babd73', 'test read+plan+deploy+agent', 'rollback', '3', '{"plan": "plan_01a20d0e520c0ecbcc3bb190bee3", "of": 1}');
INSERT INTO public.audit_log VALUES (7, 1795515373789, NULL, NULL, 'key.create', 'key_01a20d0e58d07203b340ef80f504', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.comparisons VALUES ('comparison_01a20d0e4f5950ee3b67279fa556', 1795515371354, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]');
INSERT INTO public.deployments VALUES (1, 'deployment_01a20d0e574c5a33947d335250bb', 1795515373390, 'plan_01a20d0e520c0ecbcc3bb190bee3', NULL, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.deployments VALUES (2, 'deployment_01a20d0e57652e87f5bfac097180', 1795515373414, 'plan_01a20d0e56d146634e663f4b7bd0', NULL, 'test read+plan+deploy+agent', 3, 1, '\x789cb5935b4ec3301045f732dfc67826b1f3d80aaaaa34356905712ac715a0aa7b679c50aa00add24afc447e4cee3df65c1fa00f55637b289f0eb05d4309bd02016db7b6af3c7136f0acd9ed795cf357c4721fa05402ace3f25cc0aa0af5064ae4bd4de52d94a4056c1d17ba3a0af3867db7f5b2e571a2245161323a8a931dceb1c3fbec484ba3729515673b9a634777da91cc8d3299392e04f86e1fbeeef5d9574d6b1d0bc36ed339fb10af9817ebb0ed1c4b4825ce6d880de0dfdf3adf8741d52899ea2249d39fe0e756acf6ebc68ed5b98a6abe0a76e977918fe7f1f4bf18f02a034e19344a42833abfc0801386622e035d65a02943aa65469868bac040130654732192ff6b06e25f10a3e08bf5633a06b3d3c33b256b501a93e9d8e7a17ae4800eb9696ddbf98f65bbe2ae1072beb378aa6f11bc59047359643811a19b455426895ff5e2f809e9524db1');
INSERT INTO public.deployments VALUES (3, 'deployment_01a20d0e578d49ca009324a8b608', 1795515373454, 'plan_01a20d0e520c0ecbcc3bb190bee3', 1, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', '119c338bdf42460d9b8c0acf14360de3', 1795515371307, '04dc2c52363f58bb02062ae3fca32df4d6dbbbb4a0305a1500941adc91fcf632', 201, '{"Location": "/v1/workloads/sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc"}', '\x7b226964223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31312e3330383030305a222c22667261676d656e7473223a342c22636c69656e7473223a342c2267707573223a302c226d6f64656c73223a5b226e6574225d2c22646572697665645f66726f6d223a6e756c6c2c2264657269766174696f6e223a6e756c6c7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', '43c52c35eb0c43a6b501e57608187679', 1795515371323, '59146a3c9844c48286c75f7f3b39ef93952b07baa7043a5c89a4bbef07a8bf25', 201, '{"Location": "/v1/profiles/sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"}', '\x7b226964223a227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31312e3332343030305a222c226d6f64656c223a226e6574222c22677075223a22637075222c226c6179657273223a382c2262617463686573223a5b312c322c345d2c22736861726573223a5b32352e302c35302e302c3130302e305d2c226d65617375726564223a7b7d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', '6be6a8a5aef24a7482e64c36f93d8b2d', 1795515371351, 'f7e7a979e3581a835a1199969941cc3ef2ef3ea27a2859f1b17fcd5292d14949', 202, '{"Location": "/v1/comparisons/comparison_01a20d0e4f5950ee3b67279fa556"}', '\x7b226964223a22636f6d70617269736f6e5f30316132306430653466353935306565336236373237396661353536222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31312e3335343030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22646f6e65223a66616c73652c22726f7773223a5b7b227374726174656779223a2267736c696365222c2272756e223a2272756e5f30316132306430653466356231326532613532663935326465306430222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d2c7b227374726174656779223a226772616674222c2272756e223a2272756e5f30316132306430653466356635396533353633336430396564643661222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d5d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', 'f997b019ee45450bb7996411360e87c1', 1795515373388, '3738ac55b94d947a9649f8fdfbf7609dd6954b864c20c9de44fd1a105fd2bb71', 201, '{"Location": "/v1/deployments/1"}', '\x7b2267656e65726174696f6e223a312c226964223a226465706c6f796d656e745f30316132306430653537346335613333393437643333353235306262222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31332e3339303030305a222c22706c616e223a22706c616e5f30316132306430653532306330656362636333626231393062656533222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', 'a7147bf7ffb54f6b9f65851145cff47f', 1795515373413, 'e6d6b147d82cc39d7b2febff3c958549acfd7c8458e93f2bcab6207ff976f6ba', 201, '{"Location": "/v1/deployments/2"}', '\x7b2267656e65726174696f6e223a322c226964223a226465706c6f796d656e745f30316132306430653537363532653837663562666163303937313830222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31332e3431343030305a222c22706c616e223a22706c616e5f30316132306430653536643134363633346536363366346237626430222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a332c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4e7b2a91f420a3babd73', '8a4859739a5a49ac92821414afa83f55', 1795515373453, '06d3d50d72332e7a30ad8dfefcf5239ecc235ce3711cfd3d520caebee2fea7f9', 201, '{"Location": "/v1/deployments/3"}', '\x7b2267656e65726174696f6e223a332c226964223a226465706c6f796d656e745f30316132306430653537386434396361303039333234613862363038222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31332e3435343030305a222c22706c616e223a22706c616e5f30316132306430653532306330656362636333626231393062656533222c22726f6c6c6261636b5f6f66223a312c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20d0e4de23a4d9e8f227ca6c3', 'fixture', 1795515373967, '190a23bebc7467891c3825c4c37a6cee9ae9255c01422c415384e89227fd1f33', 202, '{"Location": "/v1/plan-runs/run_01a20d0e59925cca2e1f88b6baeb"}', '\x7b226964223a2272756e5f30316132306430653539393235636361326531663838623662616562222c22637265617465645f6174223a22323032362d31312d32345431303a31363a31332e3937303030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22636f6d70617269736f6e223a6e756c6c2c227374726174656779223a226772616674222c2273657474696e6773223a7b2274696d655f6c696d69745f73223a36302e302c22676170223a302e302c2273656564223a302c2274687265616473223a322c22696e6665617369626c65223a226661696c222c227175657565696e67223a22706c61696e227d2c227374617465223a22717565756564222c2277616e746564223a6e756c6c2c22617474656d707473223a302c22737461727465645f6174223a6e756c6c2c2266696e69736865645f6174223a6e756c6c2c2270726f6772657373223a6e756c6c2c226661696c757265223a6e756c6c2c22706c616e223a6e756c6c7d');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-0', 'node_01a20d0e572a3dc2bdc037bf756c');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-1', 'node_01a20d0e572a3dc2bdc037bf756c');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-2', 'node_01a20d0e572a3dc2bdc037bf756c');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-3', 'node_01a20d0e572a3dc2bdc037bf756c');
INSERT INTO public.node_status VALUES ('node_01a20d0e572a3dc2bdc037bf756c', 1795515373436, 2, '[{"generation": 2, "stage": "s0", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s1", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s2", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}]');
INSERT INTO public.nodes VALUES ('node_01a20d0e572a3dc2bdc037bf756c', 'node-a', 'http://127.0.0.1:9100', '[{"id": "node-a/cpu-0", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-1", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-2", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-3", "type": "cpu", "memory_mb": 8000.0}]', 1795515373356, 1795515373356, 1795515382436);
INSERT INTO public.plan_runs VALUES ('run_01a20d0e4f5b12e2a52f952de0d0', 1795515371356, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a20d0e4f5950ee3b67279fa556', 'gslice', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20d0e4e7b2a91f420a3babd73', 'succeeded', NULL, 1, 1, NULL, NULL, 1795515371373, 1795515372054, NULL, NULL, 'plan_01a20d0e520c0ecbcc3bb190bee3');
INSERT INTO public.plan_runs VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 1795515371360, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a20d0e4f5950ee3b67279fa556', 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20d0e4e7b2a91f420a3babd73', 'succeeded', NULL, 1, 1, NULL, NULL, 1795515372074, 1795515373268, NULL, NULL, 'plan_01a20d0e56d146634e663f4b7bd0');
INSERT INTO public.plan_runs VALUES ('run_01a20d0e59925cca2e1f88b6baeb', 1795515373970, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', NULL, 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20d0e4de23a4d9e8f227ca6c3', 'queued', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.plans VALUES ('plan_01a20d0e520c0ecbcc3bb190bee3', 1795515372045, 'run_01a20d0e4f5b12e2a52f952de0d0', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:1fe6207992ba69a4143f69addf8cc9e821782d694213f8a3735449c573720510', 'gslice', 'feasible', 100, NULL, 75, 0.25, 0.0044706839998980286, 4, 4, 0, '\x789cbd94db6e9c301086dfc5d794fa804ffb2a51b532f6c0d282d918b369b5e2dd3b66934651d355948b7281ec99f1f733077325dd9c2697c98124e893eb727d1e5dfc7a61a4224b4e2e43ff0b9dfd320e1e769bcbeb82960edc32b463b1cded77f079b800395cc9727209178cd29a56a43f97e0b88ee35691717e82746ce7350672d072f7bb3339d09acb9ddc03063f5cc9807eb250444f738011371132d969b8f6f8dec3137e3632a0e04c455a97fd0995ab976f28d4216260f4058c0ef809fe38e15aa026b74af3ad7a9163ff578e7f448e7d4e8ecb5a5143b57d95131f91e39f94e3b5515469b57dab489ad7fcdcc62eb97e825886eb7c9a237c291d4523ceca1c115106e04fd74bbff1f8d39c96bc5315ad1b6945d39424fe42b1bb28fe162559cd9962d2bc8be27751e22daa91b5e64c48fe2e4adc45b17f258866bc751e6eac07dcaeb15cc308e1b63da7f902b194be5c31dc75c3f80c3d392ed50129de780f9d6f85d71de381b78232693558263a2b9dd441d8e0357060ce511a846e85b68e7b2dfc4be97f8cb3dbc7e546b52138a5033794b61cfb4b3b6783a4a028754e8282d640e71caa41c0075a67442798e7baa1605a8fd5b8405af662105a633dcaac41c9aa5406fc1cc352ee3fa54da3a932c25a6baca1dca8e2cf7988fd5252cec304c77198867cbc55eef5df81ab7c4ae00a0907f8718515f058e9c9e88648b66dfb0d352e7b7f');
INSERT INTO public.plans VALUES ('plan_01a20d0e56d146634e663f4b7bd0', 1795515373266, 'run_01a20d0e4f5f59e35633d09edd6a', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:bb7c00bbc31875f4e0fa8888b0b01de83d151c38415ed5a3783e0ab4749779ab', 'graft', 'optimal', 75, NULL, 75, 0, 0.07902426500004367, 3, 3, 0, '\x789c9d93db8edb201040ff8567d7e562c0ceafacaa680ce3c4ad0d29c6d95651febd83b3691575b55ac50f1673e10c73bbb021a61932dbb184870443ae4f1384af67c12ab6e404190fbfc9b8993615e47521453ce571868954b1ff8e2e8f6764bb0b5b8e90e86075cd2b763815d7b04ed3b562537cc5b4efe31afc5f3b9cd88e9713610f48be2f173692992d9cc073f4389110b04426189d1dfd37f7444fa68b58686dc57ac8eec876a2babf40ea8a8d811c832b6032e02f74fb99ce8ad75276c6ca6b750f273e134e3c174eeadaf096dbee5f38f99970f2c970b26e0d37d65cbf552cc535bfd57548709831944e9f8e31e09752625252eb6220c4431b4a03e8fa6b4c4bdea886d78dee54d39424fe43890f51e211a5452d8511ba7d17253f44c94754a36b2b85d2f25d947a2e4152d30a38bcb15e485c43d98980fe269e523c6328a52f134fd2304e6fd023486d764471ad7338b85e393b08e965afb8d09dc54ea8a1d3a0ad579d7716250a00cebdb2bdb21d486795bbbfecc714611b971bb5f31e8cf5b2e5bc97d45f3e40e73547c3398046837d8b030045434f1ff6d0aa4109276dc3b1ed1d55e38c69d98ac1784df528b38625ab52197431f865db47db71d948a3397d8d32b658731ec3612909d3dee37e1ae731ef6f757bd8e47c4c088543e3fb73c515e95ae9c8046360d7ebf50f6d1459aa');
INSERT INTO public.profiles VALUES ('sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0', 1795515371324, 'net', 'cpu', 8, '[1, 2, 4]', '[25, 50, 100]', '{}', '\x789c3553d14e23310cfc977d8e72b6633b09bf52a16a294b8b44295a16ee10e2df6f9cd23e6cbdf166663cb6bfa7a7cb7a9eb7e96e5a97e33a3f6df96dbd3c3dbf2c7f3e794ad3f9f2b8bc20f9ba6c783bbe7d203ee099a697f96b59dfa7bbdd35a2db11df02b905e516e82db05be0b7a04ef7697a98b7c369094c4e921427efa7791d0762c92831d17d5cd896d7c3d7fe1c89dd4eb30b5b2f49b2b5a6c289b36aaff769e759a577aaa9642716327c43ecbd30924c99d4ad68322078ad8acfd8b874bd477a27b96a552a80b35a5413e54e8c1f9281578391dc3a293ee156580d29cb452af50023a356044900095f5139bbb6d603cc496a4360d6655c952ca4d2024e5aa95291c455671b94852d4839f7428e2448458bd92faea104e2a1d2443d8045c03b808b91f79052500b40000c867e05eeec5e1dd588f315b890752d03587373d8a948b7068a1050b930f7abc12e4044b1adc0bab044aa7516247b766b150658ae859b85254a1cad09601b5a5c86eb8d5ba86bceb88d6ccb849fd5a42073a801706dc42580b9c01f53d45841cb8d159f417a6bbf8a0b1ce58a2b68a0d42848494be7d19e4ee28dc10a4f8ac6b4a0adae32587b435b1a1433890602de59f517b773c11885148c90866014d82d5cac99bb776e50421df5849d057e8ec6322c73854d9e2152ab855f24267022a67c9b8fcbfef2b9aca7657e1c734df0244d878f6dfff0b58d0df030845211cc0036a172d48fcee1a90db213c81a4a2dbdb75415762a8d75f9bb3c1f4fdbfefc106b94bd78821cef1ddb044bc71ff600d2a441961950738b2dc27c452fa6f9b03d7fcedbf3e5f50a02c37cf4d263287ab1b1403179550aea37f1a8afc690bb39100e97d76df977d5a006be387adff66fcbba1f2b3edd711c9e97f9fd635d1ea7bbef9f9fff99211bc1');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5b12e2a52f952de0d0', 1, 1795515371359, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 1, 1795515371361, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5b12e2a52f952de0d0', 2, 1795515371383, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5b12e2a52f952de0d0', 3, 1795515372059, 'state', '{"state": "succeeded", "plan": "plan_01a20d0e520c0ecbcc3bb190bee3"}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 2, 1795515372077, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 3, 1795515373272, 'progress', '{"t": 0.001343073000498407, "phase": "re-aligned net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 4, 1795515373272, 'progress', '{"t": 0.028781910000361677, "phase": "searched net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a20d0e4f5f59e35633d09edd6a', 5, 1795515373272, 'state', '{"state": "succeeded", "plan": "plan_01a20d0e56d146634e663f4b7bd0"}');
INSERT INTO public.run_events VALUES ('run_01a20d0e59925cca2e1f88b6baeb', 1, 1795515373976, 'state', '{"state": "queued"}');
INSERT INTO public.workloads VALUES ('sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', 1795515371308, 4, 4, 0, '["net"]', '\x789c95cfc10e82300c06e077e979e28a17e5558c21d37568641b29450f8477b7f1b603468e7ffbf74b3a43c81c9d40034c1dbb20d53bf3b3cfceef5f080602bb2e5292119af30c0fafc5e19e13edac2e63f6d4eb2491681ac5b142d6c075f21d491bf5e8682b1db0136a79d08cdf7ccb53d22a2ea63071cdc4c23c6d31eb35b32e4cb45bd0c37fcf23fe462fcb07bd2c76ac', NULL, NULL);
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
