-- key: rg_51643d6e_MGd6rVOmp6We3AAwENGEQ-tR6V292YbUERXWPLLfNUk
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
    body bytea NOT NULL,
    derived_from character varying(200),
    derivation json
);
ALTER TABLE ONLY public.audit_log ALTER COLUMN id SET DEFAULT nextval('public.audit_log_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.api_keys VALUES ('key_01a20cd87a2a23c01dae19fc38eb', 'fixture', '51643d6e', '$argon2id$v=19$m=19456,t=2,p=1$f+0LdBKeG7iIqVNMvGE0RA$pa+FRcqJ7ICjs3iYjcPJXXDqZb0KiZ7mW/Uf02Rmau4', '["read", "plan", "deploy", "agent"]', 1795511843372, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20cd87aceb248a11ffc395a4e', 'test read+plan+deploy+agent', '82dad021', '$argon2id$v=19$m=19456,t=2,p=1$R5AHq2JZxSIHSxFwPg9DnA$vKKMv5gXneYw6Ly45nKY5NB+bpFuGTL038OpK8BpqCg', '["read", "plan", "deploy", "agent"]', 1795511843535, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20cd87b26d4d0f72a409f3ce5', 'test read+plan+deploy+agent', 'b507a77e', '$argon2id$v=19$m=19456,t=2,p=1$aZ+CTWp93VKqd8JYKqIpng$FZs2/GunDixDxGl7DqCAqEtQdgFkigQLsl9h8hn42NQ', '["read", "plan", "deploy", "agent"]', 1795511843627, NULL);
INSERT INTO public.api_keys VALUES ('key_01a20cd88559ef47648e6004a41e', 'test read+plan+deploy+agent', 'ccc8783d', '$argon2id$v=19$m=19456,t=2,p=1$FVLGOpjkXKzMXBhtJmjumg$5xINr8fYH9Y4PiOtRYrXXxVaqFMygCYWVPR4SjeE+fg', '["read", "plan", "deploy", "agent"]', 1795511846237, NULL);
INSERT INTO public.audit_log VALUES (1, 1795511843376, NULL, NULL, 'key.create', 'key_01a20cd87a2a23c01dae19fc38eb', '{"name": "fixture", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (2, 1795511843538, NULL, NULL, 'key.create', 'key_01a20cd87aceb248a11ffc395a4e', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (3, 1795511843630, NULL, NULL, 'key.create', 'key_01a20cd87b26d4d0f72a409f3ce5', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.audit_log VALUES (4, 1795511845859, 'key_01a20cd87aceb248a11ffc395a4e', 'test read+plan+deploy+agent', 'deploy', '1', '{"plan": "plan_01a20cd87eb4214baaa52a8d5152"}');
INSERT INTO public.audit_log VALUES (5, 1795511845876, 'key_01a20cd87aceb248a11ffc395a4e', 'test read+plan+deploy+agent', 'deploy', '2', '{"plan": "plan_01a20cd882acfb639aa3092a3388"}');
INSERT INTO public.audit_log VALUES (6, 1795511845905, 'key_01a20cd87aceb248a11ffc395a4e', 'test read+plan+deploy+agent', 'rollback', '3', '{"plan": "plan_01a20cd87eb4214baaa52a8d5152", "of": 1}');
INSERT INTO public.audit_log VALUES (7, 1795511846241, NULL, NULL, 'key.create', 'key_01a20cd88559ef47648e6004a41e', '{"name": "test read+plan+deploy+agent", "scopes": ["read", "plan", "deploy", "agent"]}');
INSERT INTO public.comparisons VALUES ('comparison_01a20cd87c1a3d313d8f03b85cea', 1795511843869, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]');
INSERT INTO public.deployments VALUES (1, 'deployment_01a20cd883dd73c490ac956baaf1', 1795511845855, 'plan_01a20cd87eb4214baaa52a8d5152', NULL, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.deployments VALUES (2, 'deployment_01a20cd883f1033fbe8c2c520bf6', 1795511845875, 'plan_01a20cd882acfb639aa3092a3388', NULL, 'test read+plan+deploy+agent', 3, 1, '\x789cb5935b4ec3301045f732dfc67826b1f3d80aaaaa34356905712ac715a0aa7b679c50aa00add24afc447e4cee3df65c1fa00f55637b289f0eb05d4309bd02016db7b6af3c7136f0acd9ed795cf357c4721fa05402ace3f25cc0aa0af5064ae4bd4de52d94a4056c1d17ba3a0af3867db7f5b2e571a2245161323a8a931dceb1c3fbec484ba3729515673b9a634777da91cc8d3299392e04f86e1fbeeef5d9574d6b1d0bc36ed339fb10af9817ebb0ed1c4b4825ce6d880de0dfdf3adf8741d52899ea2249d39fe0e756acf6ebc68ed5b98a6abe0a76e977918fe7f1f4bf18f02a034e19344a42833abfc0801386622e035d65a02943aa65469868bac040130654732192ff6b06e25f10a3e08bf5633a06b3d3c33b256b501a93e9d8e7a17ae4800eb9696ddbf98f65bbe2ae1072beb378aa6f11bc59047359643811a19b455426895ff5e2f809e9524db1');
INSERT INTO public.deployments VALUES (3, 'deployment_01a20cd8840fc062793889064403', 1795511845904, 'plan_01a20cd87eb4214baaa52a8d5152', 1, 'test read+plan+deploy+agent', 4, 1, '\x789cbd946f6f823010c6bfcbbdae5def80f2e7ab2cc6207668368a2935db62fceebbc29c619b06dde21bd26b8fe7f935cfc11e3a5fd6a683e2710f9b1514d02910d0b42bf3c285359eab7abbe375c54f11da9d8742093096db3301cbd2576b2890cfd6a5335050226063b9d15641980fcc9ba9160daf232589729dd2411cedf0be7634c50e6fb3a3446a95a9343fd94553ece8463b9299563ad587b900d7eefc678c4faeac1b635918b6ebd69a594894372bbf692d4b48254ea987bcf9f5d7d675be57d54ac6491ec5f177f05314cbddaa364377a6829a2bbd59b86de0e33adcfe07035e64a0314382925063929d61c011433e95812e324463863891296194d019061a31a09a0a115d84c0bf8481f81bc420f86cdc301dbdd9f13b3f4e56af344ca6659f59f9c003dacf4d639ad6bd2f9a25a742c8f39d865b7d89e07f88d0d52298c93cc5914874b5884a25f1af617ef800028e82da');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', '8a80a3c99a5f46c5b5650db1c0b46e55', 1795511843815, '04dc2c52363f58bb02062ae3fca32df4d6dbbbb4a0305a1500941adc91fcf632', 201, '{"Location": "/v1/workloads/sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc"}', '\x7b226964223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32332e3831373030305a222c22667261676d656e7473223a342c22636c69656e7473223a342c2267707573223a302c226d6f64656c73223a5b226e6574225d2c22646572697665645f66726f6d223a6e756c6c2c2264657269766174696f6e223a6e756c6c7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', '7e0c747d353545c3b81fb99235e50b39', 1795511843831, '59146a3c9844c48286c75f7f3b39ef93952b07baa7043a5c89a4bbef07a8bf25', 201, '{"Location": "/v1/profiles/sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"}', '\x7b226964223a227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32332e3833333030305a222c226d6f64656c223a226e6574222c22677075223a22637075222c226c6179657273223a382c2262617463686573223a5b312c322c345d2c22736861726573223a5b32352e302c35302e302c3130302e305d2c226d65617375726564223a7b7d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', '70108daea81d4b9d96939a8f9b80ed53', 1795511843863, 'f7e7a979e3581a835a1199969941cc3ef2ef3ea27a2859f1b17fcd5292d14949', 202, '{"Location": "/v1/comparisons/comparison_01a20cd87c1a3d313d8f03b85cea"}', '\x7b226964223a22636f6d70617269736f6e5f30316132306364383763316133643331336438663033623835636561222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32332e3836393030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22646f6e65223a66616c73652c22726f7773223a5b7b227374726174656779223a2267736c696365222c2272756e223a2272756e5f30316132306364383763323030666232313031356639356133323265222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d2c7b227374726174656779223a226772616674222c2272756e223a2272756e5f30316132306364383763326339623439633564323538363565346635222c227374617465223a22717565756564222c22706c616e223a6e756c6c2c227368617265223a6e756c6c2c2267707573223a6e756c6c2c22737461676573223a6e756c6c2c22696e7374616e636573223a6e756c6c2c226c6f7765725f626f756e64223a6e756c6c2c22676170223a6e756c6c2c227365636f6e6473223a6e756c6c2c226661696c757265223a6e756c6c7d5d7d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', 'd490ea74dd0f4d0dad63123cec08259a', 1795511845853, '659e32c545e8609cf54afe79483a64f4c809ea085ea1bef077e4c5445279774b', 201, '{"Location": "/v1/deployments/1"}', '\x7b2267656e65726174696f6e223a312c226964223a226465706c6f796d656e745f30316132306364383833646437336334393061633935366261616631222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32352e3835353030305a222c22706c616e223a22706c616e5f30316132306364383765623432313462616161353261386435313532222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', 'd87b061d038a4c58abe56b05d664e60b', 1795511845873, '661dc588d79c133776b0f3c4241453cf4028e46e9c673b51abadb0719938b468', 201, '{"Location": "/v1/deployments/2"}', '\x7b2267656e65726174696f6e223a322c226964223a226465706c6f796d656e745f30316132306364383833663130333366626538633263353230626636222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32352e3837353030305a222c22706c616e223a22706c616e5f30316132306364383832616366623633396161333039326133333838222c22726f6c6c6261636b5f6f66223a6e756c6c2c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a332c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87aceb248a11ffc395a4e', '8d2a8861dbaa4ee9b0615ebd2a6bca57', 1795511845903, '06d3d50d72332e7a30ad8dfefcf5239ecc235ce3711cfd3d520caebee2fea7f9', 201, '{"Location": "/v1/deployments/3"}', '\x7b2267656e65726174696f6e223a332c226964223a226465706c6f796d656e745f30316132306364383834306663303632373933383839303634343033222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32352e3930343030305a222c22706c616e223a22706c616e5f30316132306364383765623432313462616161353261386435313532222c22726f6c6c6261636b5f6f66223a312c226465706c6f7965645f6279223a227465737420726561642b706c616e2b6465706c6f792b6167656e74222c22696e7374616e636573223a342c2267707573223a312c2263757272656e74223a747275657d');
INSERT INTO public.idempotency_records VALUES ('key_01a20cd87a2a23c01dae19fc38eb', 'fixture', 1795511846415, '190a23bebc7467891c3825c4c37a6cee9ae9255c01422c415384e89227fd1f33', 202, '{"Location": "/v1/plan-runs/run_01a20cd8861243e6dad72aaaa126"}', '\x7b226964223a2272756e5f30316132306364383836313234336536646164373261616161313236222c22637265617465645f6174223a22323032362d31312d32345430393a31373a32362e3431383030305a222c22776f726b6c6f6164223a227368613235363a39646461363764323830306232363736306661396435306536303061613565366562386566616131326465646464646562613833663331633237343065386263222c2270726f66696c6573223a5b227368613235363a33343463386363656663623363376631326432623330313539376539313366393561353764333964633765326531616130306433376233373961326337336330225d2c22636f6d70617269736f6e223a6e756c6c2c227374726174656779223a226772616674222c2273657474696e6773223a7b2274696d655f6c696d69745f73223a36302e302c22676170223a302e302c2273656564223a302c2274687265616473223a322c22696e6665617369626c65223a226661696c222c227175657565696e67223a22706c61696e227d2c227374617465223a22717565756564222c2277616e746564223a6e756c6c2c22617474656d707473223a302c22737461727465645f6174223a6e756c6c2c2266696e69736865645f6174223a6e756c6c2c2270726f6772657373223a6e756c6c2c226661696c757265223a6e756c6c2c22706c616e223a6e756c6c7d');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-0', 'node_01a20cd8831af3f321c796c2b682');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-1', 'node_01a20cd8831af3f321c796c2b682');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-2', 'node_01a20cd8831af3f321c796c2b682');
INSERT INTO public.node_gpus VALUES ('node-a/cpu-3', 'node_01a20cd8831af3f321c796c2b682');
INSERT INTO public.node_status VALUES ('node_01a20cd8831af3f321c796c2b682', 1795511845891, 2, '[{"generation": 2, "stage": "s0", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s1", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}, {"generation": 2, "stage": "s2", "instance": 0, "gpu": "node-a/cpu-0", "state": "ready", "pid": 4711, "restarts": 0, "share_pct": 25.0, "effective_share_pct": 25.0, "enforced_by": "cgroup-v2", "detail": ""}]');
INSERT INTO public.nodes VALUES ('node_01a20cd8831af3f321c796c2b682', 'node-a', 'http://127.0.0.1:9100', '[{"id": "node-a/cpu-0", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-1", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-2", "type": "cpu", "memory_mb": 8000.0}, {"id": "node-a/cpu-3", "type": "cpu", "memory_mb": 8000.0}]', 1795511845814, 1795511845814, 1795511854890);
INSERT INTO public.plan_runs VALUES ('run_01a20cd87c200fb21015f95a322e', 1795511843873, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a20cd87c1a3d313d8f03b85cea', 'gslice', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20cd87aceb248a11ffc395a4e', 'succeeded', NULL, 1, 1, NULL, NULL, 1795511843902, 1795511844538, NULL, NULL, 'plan_01a20cd87eb4214baaa52a8d5152');
INSERT INTO public.plan_runs VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 1795511843885, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'comparison_01a20cd87c1a3d313d8f03b85cea', 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20cd87aceb248a11ffc395a4e', 'succeeded', NULL, 1, 1, NULL, NULL, 1795511844550, 1795511845556, NULL, NULL, 'plan_01a20cd882acfb639aa3092a3388');
INSERT INTO public.plan_runs VALUES ('run_01a20cd8861243e6dad72aaaa126', 1795511846418, 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', NULL, 'graft', '{"time_limit_s": 60.0, "gap": 0.0, "seed": 0, "threads": 2, "infeasible": "fail", "queueing": "plain"}', 'key_01a20cd87a2a23c01dae19fc38eb', 'queued', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.plans VALUES ('plan_01a20cd87eb4214baaa52a8d5152', 1795511844534, 'run_01a20cd87c200fb21015f95a322e', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:87cfdd6ac953b9168dedeaf83cb862ec01b5b4eff3a8acbcd9a101bc28eb28eb', 'gslice', 'feasible', 100, NULL, 75, 0.25, 0.01422578900019289, 4, 4, 0, '\x789cbd94db6e9c301086dfc5d794fa8031de5789aad5600f2c2d988d319b562bdebd63366914355d45b92817c89e197f3f733057d6cd7182c40e2c621fa14be57984f0f52258c196142161ff8b9cfd320e0e771ba475214b87b00ced986d73fb1d5d1a2ec80e57b69c20d242705ef282f5e71c1cd671dc0a36ce4f188fedbc06cf0e46ef7e38b3032fa5dec93d52f0c3950de4670b27f4347b1c691330b19d466b47ef3d3cd267130333ae29580bc99d48b978f9864c1d02050697c1e4c09fe88e13ad15694a5b1bb9152f72e2ffcac98fc889cfc9495dd6bce1c6becaa98fc8c94fcac9b2a9796deaed5bc1e2bca6e7367611fa09431eaef3690ef82577948c342b7320441e803f5dcffda6e34f735cd24ead795969abaa2a27f1174adc45c9b7282d4a296aa19b7751f22e4abd4555ba3452282ddf45a9bb28f1af04c94cb7cee18df540db35e46b18d0dfb6e7385f30e4d2e72b46bb6e189fa12790ba3e10c535ce61e75ae54c27a497ade2425b8356a8ce6ad0c62beb9d4189028073af4cab8c05e98c722fa5ff31ceb08fcb8d6abd87da78d970de4aea2fefc07acdb1e61c40638d6d831d00a9a1a7075b6854a78493a6e2d8b48eaa71c1b8ecc560bca47ae459c39c55ae0cba39f825df7f2e2a29b5692ce75c58d9d8ec4d6908fd92134ec384c771988674bcd5edf5cf41ab748a089943e3fbb8e28a742c77648421b06ddb7e0349347afe');
INSERT INTO public.plans VALUES ('plan_01a20cd882acfb639aa3092a3388', 1795511845550, 'run_01a20cd87c2c9b49c5d25865e4f5', 'sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', '["sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0"]', 'sha256:7b2136aea2713ea3a24a26963a057d7edf59ca045ee1b522410bccf9a627a161', 'graft', 'optimal', 75, NULL, 75, 0, 0.05082243700053368, 3, 3, 0, '\x789c9d93db8e9b301040ffc5cf94fa8231e457565534d843420b363526db2ae2df3b269b565157ab5578409e8bcf786e57d6873841620716f114a14fe53c82ff7a11ac604b8a90f0f49b8cbb6957415a175284390d138ca40add77b469b8203b5cd972864807a34b5eb0d39c5dfd3a8e5bc1c6f08af1d885d5bbbf7698d981e713614f48be2f573690992d9cc053703892e0314726189d2dfd77f7484fa68b98694dc13a48f6cc0ea2b8bf40ea820d9e1cbdcd6032e02fb4c789ce8a9752b6b5915b710f273e134e3c174eeab2e60d37edbf70f233e1e493e164d9d4bc36f5f6ad6031ace9adae7d84d3843e777a3e078f5f72894949ad0b9e100f6dc80da0ebaf212e69a7d6bcac74abaa2a27f11f4a7c88128f282d4a296aa19b7751f243947c4455ba3452282ddf45a9e7122435ad80c51beb85c4d5e79df0e86ee21cc3057d2e7d9e7892fa617c839e41eafa4014db588bbded9435bd904e768a0bdd1a6c85ea5b0dda38d53a6b50a200e0dc29d329d382b446d9fbcb7e8c01f671b9515be7a0364e369c7792facb7b689de658730ea0b1c6aec11e80a2a1a30f3b6854af8495a6e2d87496aa71c1b8ecc560bca47ae459c39c55ae0cdae0ddb2efa3e68d9495329c73ad54dd646b4a833f2d3961da7b3c8ec334a4e3ad6e0f9b9cce112173687c7faeb8225dcb1d1961f06cdbb63f6d3159ab');
INSERT INTO public.profiles VALUES ('sha256:344c8ccefcb3c7f12d2b301597e913f95a57d39dc7e2e1aa00d37b379a2c73c0', 1795511843833, 'net', 'cpu', 8, '[1, 2, 4]', '[25, 50, 100]', '{}', '\x789c3553d14e23310cfc977d8e72b6633b09bf52a16a294b8b44295a16ee10e2df6f9cd23e6cbdf166663cb6bfa7a7cb7a9eb7e96e5a97e33a3f6df96dbd3c3dbf2c7f3e794ad3f9f2b8bc20f9ba6c783bbe7d203ee099a697f96b59dfa7bbdd35a2db11df02b905e516e82db05be0b7a04ef7697a98b7c369094c4e921427efa7791d0762c92831d17d5cd896d7c3d7fe1c89dd4eb30b5b2f49b2b5a6c289b36aaff769e759a577aaa9642716327c43ecbd30924c99d4ad68322078ad8acfd8b874bd477a27b96a552a80b35a5413e54e8c1f9281578391dc3a293ee156580d29cb452af50023a356044900095f5139bbb6d603cc496a4360d6655c952ca4d2024e5aa95291c455671b94852d4839f7428e2448458bd92faea104e2a1d2443d8045c03b808b91f79052500b40000c867e05eeec5e1dd588f315b890752d03587373d8a948b7068a1050b930f7abc12e4044b1adc0bab044aa7516247b766b150658ae859b85254a1cad09601b5a5c86eb8d5ba86bceb88d6ccb849fd5a42073a801706dc42580b9c01f53d45841cb8d159f417a6bbf8a0b1ce58a2b68a0d42848494be7d19e4ee28dc10a4f8ac6b4a0adae32587b435b1a1433890602de59f517b773c11885148c90866014d82d5cac99bb776e50421df5849d057e8ec6322c73854d9e2152ab855f24267022a67c9b8fcbfef2b9aca7657e1c734df0244d878f6dfff0b58d0df030845211cc0036a172d48fcee1a90db213c81a4a2dbdb75415762a8d75f9bb3c1f4fdbfefc106b94bd78821cef1ddb044bc71ff600d2a441961950738b2dc27c452fa6f9b03d7fcedbf3e5f50a02c37cf4d263287ab1b1403179550aea37f1a8afc690bb39100e97d76df977d5a006be387adff66fcbba1f2b3edd711c9e97f9fd635d1ea7bbef9f9fff99211bc1');
INSERT INTO public.run_events VALUES ('run_01a20cd87c200fb21015f95a322e', 1, 1795511843883, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 1, 1795511843886, 'state', '{"state": "queued"}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c200fb21015f95a322e', 2, 1795511843904, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c200fb21015f95a322e', 3, 1795511844540, 'state', '{"state": "succeeded", "plan": "plan_01a20cd87eb4214baaa52a8d5152"}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 2, 1795511844555, 'state', '{"state": "running", "attempt": 1}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 3, 1795511845557, 'progress', '{"t": 0.0014250449994506198, "phase": "re-aligned net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 4, 1795511845557, 'progress', '{"t": 0.017187034000016865, "phase": "searched net", "objective": 75.0, "bound": null, "gap": null}');
INSERT INTO public.run_events VALUES ('run_01a20cd87c2c9b49c5d25865e4f5', 5, 1795511845557, 'state', '{"state": "succeeded", "plan": "plan_01a20cd882acfb639aa3092a3388"}');
INSERT INTO public.run_events VALUES ('run_01a20cd8861243e6dad72aaaa126', 1, 1795511846427, 'state', '{"state": "queued"}');
INSERT INTO public.workloads VALUES ('sha256:9dda67d2800b26760fa9d50e600aa5e6eb8efaa12deddddeba83f31c2740e8bc', 1795511843817, 4, 4, 0, '["net"]', '\x789c95cfc10e82300c06e077e979e28a17e5558c21d37568641b29450f8477b7f1b603468e7ffbf74b3a43c81c9d40034c1dbb20d53bf3b3cfceef5f080602bb2e5292119af30c0fafc5e19e13edac2e63f6d4eb2491681ac5b142d6c075f21d491bf5e8682b1db0136a79d08cdf7ccb53d22a2ea63071cdc4c23c6d31eb35b32e4cb45bd0c37fcf23fe462fcb07bd2c76ac', NULL, NULL);
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
