-- key: rg_ac7d29c1_T2l_Kd0t-09TXomzb5PS4NxolXj1ZO0VkrbdPe4PW8Q
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
    run_id character varying(200) NOT NULL,
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
    body bytea NOT NULL
);
ALTER TABLE ONLY public.audit_log ALTER COLUMN id SET DEFAULT nextval('public.audit_log_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.api_keys VALUES ('key_01a2076e83eb397dd5cf49b0ae07', 'fixture', 'ac7d29c1', '$argon2id$v=19$m=19456,t=2,p=1$FRzJJhhZqhWil1IpnbER8A$xaXLquzckP64EG6rgCvnwKmg9G91G9ASEWcQ/PMqw5I', '["read", "plan", "deploy", "agent"]', 1795421012976, NULL);
INSERT INTO public.api_keys VALUES ('key_01a2076e8631a20ac7f62188084b', 'test read+plan+deploy+agent', '55209514', '$argon2id$v=19$m=19456,t=2,p=1$eZvCBY1F9NTjD0PuBLlljA$KVEBDynMHJYrsT5L9aBMVxgB3Q6VNtQy6hjZU6em1z4', '["read", "plan", "deploy", "agent"]', 1795421013560, NULL);
INSERT INTO public.api_keys VALUES ('key_01a2076e87806f726ea8a5524a00', 'test read+plan+deploy+agent', '7b53a148', '$argon2id$v=19$m=19456,t=2,p=1$FUqZBrAtrmGCVCKZSNBgJA$gWVZWXZ+0fUuciE63rQa1ylBvD9zf52w7X2kH6Z1KcM', '["read", "plan", "deploy", "agent"]', 1795421013903, NULL);
INSERT INTO public.api_keys VALUES ('key_01a2076eac6e8f2ce0a5862dfc81', 'test read+plan+deploy+agent', 'e39072df', '$argon2id$v=19$m=19456,t=2,p=1$v5ymEvM02Lgi9OIrLHnI2g$m2XBzoaMi1BZkBupuxJlLfsqAIozgUGSWLFa3QI64NY', '["read", "plan", "deploy", "agent"]', 1795421023363, NULL);
INSERT INTO public.audit_log VALUES (1, 1795421012988, NULL, NULL, 'key.create', 'key_01a2076e83eb397dd5cf49b0ae07', '{"name": "fixture", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (2, 1795421013572, NULL, NULL, 'key.create', 'key_01a2076e8631a20ac7f62188084b', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (3, 1795421013907, NULL, NULL, 'key.create', 'key_01a2076e87806f726ea8a5524a00', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (4, 1795421022361, 'key_01a2076e8631a20ac7f62188084b', 'test read+plan+deploy+agent', 'deploy', '1', '{"plan": "plan_01a2076e994b9f87d372944c1898"}');
INSERT INTO public.audit_log VALUES (5, 1795421022487, 'key_01a2076e8631a20ac7f62188084b', 'test read+plan+deploy+agent', 'deploy', '2', '{"plan": "plan_01a2076ea6ef3e32c8cc28f62209"}');
INSERT INTO public.audit_log VALUES (6, 1795421022675, 'key_01a2076e8631a20ac7f62188084b', 'test read+plan+deploy+agent', 'rollback', '3', '{"plan": "plan_01a2076e994b9f87d372944c1898", "of": 1}');
INSERT INTO public.audit_log VALUES (7, 1795421023375, NULL, NULL, 'key.create', 'key_01a2076eac6e8f2ce0a5862dfc81', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.comparisons VALUES ('comparison_01a2076e8a6b98da6f698f5cec24', 1795421014639, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]');
INSERT INTO public.deployments VALUES (1, 'deployment_01a2076ea88046d1d021e81fc9ca', 1795421022352, 'plan_01a2076e994b9f87d372944c1898', NULL, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.deployments VALUES (2, 'deployment_01a2076ea91295c63b528775f4f7', 1795421022484, 'plan_01a2076ea6ef3e32c8cc28f62209', NULL, 'test read+plan+deploy+agent', 3, 1, '\x789cb5935b4ec3301045f732dfc67826b1f3d80aaaaa34356905712ac715a0aa7b679c50aa00add24afc447e4cee3df65c1fa00f55637b289f0eb05d4309bd02016db7b6af3c7136f0acd9ed795cf357c4721fa05402ace3f25cc0aa0af5064ae4bd4de52d94a4056c1d17ba3a0af3867db7f5b2e571a2245161323a8a931dceb1c3fbec484ba3729515673b9a634777da91cc8d3299392e04f86e1fbeeef5d9574d6b1d0bc36ed339fb10af9817ebb0ed1c4b4825ce6d880de0dfdf3adf8741d52899ea2249d39fe0e756acf6ebc68ed5b98a6abe0a76e977918fe7f1f4bf18f02a034e19344a42833abfc0801386622e035d65a02943aa65469868bac040130654732192ff6b06e25f10a3e08bf5633a06b3d3c33b256b501a93e9d8e7a17ae4800eb9696ddbf98f65bbe2ae1072beb378aa6f11bc59047359643811a19b455426895ff5e2f809e9524db1');
INSERT INTO public.deployments VALUES (3, 'deployment_01a2076ea9ce68e7b50ff4dca132', 1795421022673, 'plan_01a2076e994b9f87d372944c1898', 1, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', 'cf7c8037d89f47c297aaf068c0b9bf17', 1795421014355, '04dc2c52363f58bb02062ae3fca32df4d6dbbbb4a0305a1500941adc91fcf632', 201, '{"Location": "/v1/workloads/sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc"}', '\x7b226964223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c22637265617465645f6174223a22323032362d31312d32335430383a30333a33342e3335393030305a222c22667261676d656e7473223a342c22636c69656e7473223a342c2267707573223a302c226d6f64656c73223a5b226e6574225d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', '48d51ef418134fa08fc7f5ec202bc4ce', 1795421014448, '59146a3c9844c48286c75f7f3b39ef93952b07baa7043a5c89a4bbef07a8bf25', 201, '{"Location": "/v1/profiles/sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"}', '\x7b226964223a227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330222c22637265617465645f6174223a22323032362d31312d32335430383a30333a33342e3436343030305a222c226d6f64656c223a226e6574222c22677075223a22637075222c226c6179657273223a382c2262617463686573223a5b312c322c345d2c22736861726573223a5b32352e302c35302e302c3130302e305d2c226d65617375726564223a7b7d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', '3d403501bea440f4992e9af9397394a1', 1795421014621, 'f7e7a979e3581a835a1199969941cc3ef2ef3ea27a2859f1b17fcd5292d14949', 202, '{"Location": "/v1/comparisons/comparison_01a2076e8a6b98da6f698f5cec24"}', '\x7b226964223a22636f6d70617269736f6e5f30316132303736653861366239386461366636393866356365633234222c22637265617465645f6174223a22323032362d31312d32335430383a30333a33342e3633393030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22646f6e65223a66616c73652c22726f7773223a5b7b227374726174656779223a2267736c696365222c2272756e223a2272756e5f30316132303736653861373762306332623865303339323133623137222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d2c7b227374726174656779223a226772616674222c2272756e223a2272756e5f30316132303736653861393737666339663333376537396235663532222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d5d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', '45d04dd945d648dbbe92f0edd1717ab7', 1795421022336, 'dfe204bbd314396561ed40ab40f8757faf895798d33f35252ed4fd853443354d', 201, '{"Location": "/v1/deployments/1"}', '\x7b2267656e65726174696f6e223a312c226964223a226465706c6f796d656e745f30316132303736656138383034366431643032316538316663396361222c22637265617465645f6174223a22323032362d31312d32335430383a30333a34322e3335323030305a222c22706c616e223a22706c616e5f30316132303736653939346239663837643337323934346331383938222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', '26b32b7bf5a04f1e8e93787cbabdc561', 1795421022475, '5ed97b1f5a687e17b5008b70b1230d1c6c885bbd9131a1a01a18f285919f111c', 201, '{"Location": "/v1/deployments/2"}', '\x7b2267656e65726174696f6e223a322c226964223a226465706c6f796d656e745f30316132303736656139313239356336336235323837373566346637222c22637265617465645f6174223a22323032362d31312d32335430383a30333a34322e3438343030305a222c22706c616e223a22706c616e5f30316132303736656136656633653332633863633238663632323039222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a332c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e8631a20ac7f62188084b', '02c0bf5cf9eb43e1822323d962813959', 1795421022663, '06d3d50d72332e7a30ad8dfefcf5239ecc235ce3711cfd3d520caebee2fea7f9', 201, '{"Location": "/v1/deployments/3"}', '\x7b2267656e65726174696f6e223a332c226964223a226465706c6f796d656e745f30316132303736656139636536386537623530666634646361313332222c22637265617465645f6174223a22323032362d31312d32335430383a30333a34322e3637333030305a222c22706c616e223a22706c616e5f30316132303736653939346239663837643337323934346331383938222c22726f6c6c6261636b5f6f66223a312c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a2076e83eb397dd5cf49b0ae07', 'fixture', 1795421023916, '190a23bebc7467891c3825c4c37a6cee9ae9255c01422c415384e89227fd1f33', 202, '{"Location": "/v1/plan-runs/run_01a2076eaecabc7a6da8762a5c2e"}', '\x7b226964223a2272756e5f30316132303736656165636162633761366461383736326135633265222c22637265617465645f6174223a22323032362d31312d32335430383a30333a34332e3934373030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22636f6d70617269736f6e223a6e756c6c2c227374726174656779223a226772616674222c2273657474696e6773223a7b2274696d655f6c696d69745f73223a36302e302c22676170223a302e302c2273656564223a302c2274687265616473223a322c22696e6665617369626c65223a226661696c222c227175657565696e67223a22706c61696e227d2c227374617465223a22717565756564222c2277616e746564223a6e756c6c2c22617474656d707473223a302c22737461727465645f6174223a6e756c6c2c2266696e69736865645f6174223a6e756c6c2c2270726f6772657373223a6e756c6c2c226661696c757265223a6e756c6c2c22706c616e223a6e756c6c7d');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-0', 'node_01a2076ea7ec344cd821cb3cf905');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-1', 'node_01a2076ea7ec344cd821cb3cf905');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-2', 'node_01a2076ea7ec344cd821cb3cf905');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-3', 'node_01a2076ea7ec344cd821cb3cf905');
INSERT INTO public.node_status VALUES ('node_01a2076ea7ec344cd821cb3cf905', 1795421022555, 2, '[{"generation": 2, "stage": "s0", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s1", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s2", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}]');
INSERT INTO public.nodes VALUES ('node_01a2076ea7ec344cd821cb3cf905', 'node-a', 'http://127.0.0.1:9100', '[{"id": "node-a/cpu-0", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-1", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-2", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-3", "type": "cpu", "memory_mb": 8000.0}]', 1795421022200, 1795421022200, 1795421031552);
INSERT INTO public.plan_runs VALUES ('run_01a2076e8a77b0c2b8e039213b17', 1795421014651, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a2076e8a6b98da6f698f5cec24', 'gslice', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a2076e8631a20ac7f62188084b', 'succeeded', NULL, 1, 1, NULL, NULL, 1795421014744, 1795421018452, NULL, NULL, 'plan_01a2076e994b9f87d372944c1898');
INSERT INTO public.plan_runs VALUES ('run_01a2076e8a977fc9f337e79b5f52', 1795421014680, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a2076e8a6b98da6f698f5cec24', 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a2076e8631a20ac7f62188084b', 'succeeded', NULL, 1, 1, NULL, NULL, 1795421018486, 1795421021941, NULL, NULL, 'plan_01a2076ea6ef3e32c8cc28f62209');
INSERT INTO public.plan_runs VALUES ('run_01a2076eaecabc7a6da8762a5c2e', 1795421023947, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', NULL, 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a2076e83eb397dd5cf49b0ae07', 'queued', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.plans VALUES ('plan_01a2076e994b9f87d372944c1898', 1795421018444, 'run_01a2076e8a77b0c2b8e039213b17', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:cff29c4f4d6b595d957a6cfa9a5b018804c37c71c9e39e67682030b8ae35bc6c', 'gslice', 'feasible', 100, NULL, 25, 0.75, 0.016988512999887462, 4, 4, 0, '\x789cbd94db6edb300c86df45d79ea743245979956208688976bcd9722acbe98620ef3eca695714eb82a217f3852d91d4f74b24e50bebe63441667b96b04fd0e5fa3442fc7a16ac624b4e90b1ff45ce7e19078f9b0df2ba90a5435886762cb6b9fd8e3e0f6764fb0b5b8e90682038af79c5fa53098eeb385e2b36ce4f980eedbcc6c0f6526f7e38b13dafaddec83d52f0c3850de4670b27f434071c691231b38d46634fef2d3cd1b6898105d754ac85ec8fa45cbdec4112758814187d0193037fa23f4c3456bc96d2192bafd58b9cf8bf72f22372e27372945bc31b6eddab9cfa889cfca49cac1bc38d35d76f154bf39a9fcbd825e8278ca5b94ec739e29752513252afcc9110a501fe54bdd49b963fcd69c91bd5f07aa79ddaedca21fe4289bb28f916a5452d8511ba791725efa2d45bd44ed7560aa5e5bb28751725fe754032d3adf378633dd0748de51a460cb7e929cd678c25f5e58ad1ac1bc667e811a4367ba2f8c67bec7cabbced840cb2555c6867d109d5390dda06e582b7285100701e946d957520bd55fe25f53fc619b676b9515d08606c900de7ada4faf20e5cd01c0de7001a0db60d7600a486811e6ca1519d125eda1dc7a6f5948d33a6654b06e335e5a3f41a965395cca09f6358cafde7c2b8a6d1423a475fbb33b2b8731e62bf9413e761c2c3384c433edc12f7faeba0513e268402a2558f2bae48cb4a49461822bb5eafbf01c5357b51');
INSERT INTO public.plans VALUES ('plan_01a2076ea6ef3e32c8cc28f62209', 1795421021936, 'run_01a2076e8a977fc9f337e79b5f52', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:ae185aeb095d9b8b1117d052000025f99cf467af0cf5b129e7ede46dc4c0ddcb', 'graft', 'feasible', 75, NULL, 25, 0.6666666666666666, 0.04174043300008634, 3, 3, 0, '\x789c9d936d8fdb200cc7bf0bafb38c870049beca69aa1c70da6c09e908e96daaf2dd67d2eb4eb79d4ea7f202810dbf3fb6f195f5739c20b196453c46e853791e217cbd0856b025454878fc4dceddb59b20ad0b197a8465e84624dbdc7d4797860bb2f6ca9613445a585df2821dcff96c58c7712bd8383f633c74f31a3c6be5cd0f67d6f2d2fc33769923d2d5a72b1be8345b38e94cb3c7913601f34b884d6b47f37e3c520844c40caf0bd6417227d68ae2fe20a90b36043a185c0693037fa13b4cb456bc94b231566ec55d4e7c464e3c2647a11b5e73dbbccac9cfc8c907e564591b6eacd9be152cce6b7ac96b1fe13861c8953f9fe6805f728ac948959c0321727dfe96211780ae3fcf71493bd5f0b2d28daaaa1cc47f28f1214abc4569514a6184aedf45c90f51f22daad2a5954269f92e4a3d162099a9251cde584fb45d43ee9180feb63dc7f98221a73e3700edfa617c819e406ad312c5d5ce61ef3ae56c2fa4979de24237161ba1fa4683b65e35de5994280038f7ca76ca36209d55eefeb21fe30cfb77b9511befc1582f6bce3b49f5e53d345e73349c036834d8d5d803901a7a1ad841ad7a259cb415c7ba73948d0bc6654f06e325e523ff35cc51e5cca09b835f727bf24ad0954a294ea336aacade9486705c72c06998f0300ed3900eb7bcbd3636add22922640e7ddf9f2bae48d77245461802dbb6ed0fbc225d12');
INSERT INTO public.profiles VALUES ('sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0', 1795421014464, 'net', 'cpu', 8, '[1, 2, 4]', '[25, 50, 100]', '{}', '\x789c3553d14e23310cfc977d8e72b6633b09bf52a16a294b8b44295a16ee10e2df6f9cd23e6cbdf166663cb6bfa7a7cb7a9eb7e96e5a97e33a3f6df96dbd3c3dbf2c7f3e794ad3f9f2b8bc20f9ba6c783bbe7d203ee099a697f96b59dfa7bbdd35a2db11df02b905e516e82db05be0b7a04ef7697a98b7c369094c4e921427efa7791d0762c92831d17d5cd896d7c3d7fe1c89dd4eb30b5b2f49b2b5a6c289b36aaff769e759a577aaa9642716327c43ecbd30924c99d4ad68322078ad8acfd8b874bd477a27b96a552a80b35a5413e54e8c1f9281578391dc3a293ee156580d29cb452af50023a356044900095f5139bbb6d603cc496a4360d6655c952ca4d2024e5aa95291c455671b94852d4839f7428e2448458bd92faea104e2a1d2443d8045c03b808b91f79052500b40000c867e05eeec5e1dd588f315b890752d03587373d8a948b7068a1050b930f7abc12e4044b1adc0bab044aa7516247b766b150658ae859b85254a1cad09601b5a5c86eb8d5ba86bceb88d6ccb849fd5a42073a801706dc42580b9c01f53d45841cb8d159f417a6bbf8a0b1ce58a2b68a0d42848494be7d19e4ee28dc10a4f8ac6b4a0adae32587b435b1a1433890602de59f517b773c11885148c90866014d82d5cac99bb776e50421df5849d057e8ec6322c73854d9e2152ab855f24267022a67c9b8fcbfef2b9aca7657e1c734df0244d878f6dfff0b58d0df030845211cc0036a172d48fcee1a90db213c81a4a2dbdb75415762a8d75f9bb3c1f4fdbfefc106b94bd78821cef1ddb044bc71ff600d2a441961950738b2dc27c452fa6f9b03d7fcedbf3e5f50a02c37cf4d263287ab1b1403179550aea37f1a8afc690bb39100e97d76df977d5a006be387adff66fcbba1f2b3edd711c9e97f9fd635d1ea7bbef9f9fff99211bc1');
INSERT INTO public.run_events VALUES ('run_01a2076e8a77b0c2b8e039213b17', 1, 1795421014671, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a977fc9f337e79b5f52', 1, 1795421014692, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a77b0c2b8e039213b17', 2, 1795421014775, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a77b0c2b8e039213b17', 3, 1795421018466, 'state', '{"state": "succeeded", "plan": "plan_01a2076e994b9f87d372944c1898"}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a977fc9f337e79b5f52', 2, 1795421018502, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a977fc9f337e79b5f52', 3, 1795421021944, 'progress', '{"t": 0.023031273000015062, "phase": "re-aligned net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a2076e8a977fc9f337e79b5f52', 4, 1795421021944, 'state', '{"state": "succeeded", "plan": "plan_01a2076ea6ef3e32c8cc28f62209"}');
INSERT INTO public.run_events VALUES ('run_01a2076eaecabc7a6da8762a5c2e', 1, 1795421023967, 'state', '{"state": "queued"}');
INSERT INTO public.workloads VALUES ('sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', 1795421014359, 4, 4, 0, '["net"]', '\x789c95cfc10e82300c06e077e979e28a17e5558c21d37568641b29450f8477b7f1b603468e7ffbf74b3a43c81c9d40034c1dbb20d53bf3b3cfceef5f080602bb2e5292119af30c0fafc5e19e13edac2e63f6d4eb2491681ac5b142d6c075f21d491bf5e8682b1db0136a79d08cdf7ccb53d22a2ea63071cdc4c23c6d31eb35b32e4cb45bd0c37fcf23fe462fcb07bd2c76ac');
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
