# Targets for development. All of them use one environment, .venv; pip's environment variables
# (PIP_INDEX_URL, PIP_FIND_LINKS, ...) apply.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ORACLE := .oracle/hpsv2
UPSTREAM := .oracle/upstream
GENEVAL := .oracle/geneval
VIDEOALIGN := .oracle/videoalign
LOWEST := .oracle/lowest

.PHONY: help demo test test-lowest gpu gpu-rehearsal check docs perf perf-train perf-train-upstream perf-hps test-data test-browser oracle-hpsv2 oracle-upstream oracle-grpo oracle-geneval oracle-videoalign oracle-hpsv3 clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed  ## Score, train, measure and compare; downloads only packages.
	$(BIN)/rewardkit generate shapes-flow -p package:rewardkit.shapes/lists/held-out.jsonl --first 30 -o demo/shapes
	$(BIN)/rewardkit score demo/shapes/manifest.jsonl -r shapes-clip+shapes-correct+sharpness -o demo/scores.parquet --overwrite
	$(BIN)/rewardkit sheet demo/scores.parquet -o demo/sheet.png
	$(BIN)/grpo train --model shapes-flow --reward shapes-correct -o demo/run --resume
	$(BIN)/rewardkit bench run shapes --model shapes-flow --tuned demo/run --with-base -o demo/results
	$(BIN)/rewardkit bench run shapes --model shapes-sd -o demo/results
	$(BIN)/rewardkit leaderboard build demo/results --runs demo -o demo/site

# One thread per process: tests are small, and threads would only wait for each other.
test: $(VENV)/installed  ## Run the tests: CPU, offline, a few minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

$(LOWEST)/installed: pyproject.toml tests/house/lowest.py
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/house/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install -c $(LOWEST)/constraints.txt -e '.[dev]'
	touch $@

# Old libraries warn about each other, so a warning is no error here.
test-lowest: $(LOWEST)/installed  ## Run the tests with the oldest versions that pyproject.toml allows.
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -W default -n auto --maxprocesses 4 --ignore tests/house

gpu: $(VENV)/installed  ## Measure and check on a CUDA device, 8 minutes; writes docs/gpu/CARD.json.
	PYTHONPATH=.:tests $(BIN)/python tests/gpu --device cuda

# Tiny networks on the CPU: that the script runs, and no figure of a GPU.
gpu-rehearsal: $(VENV)/installed  ## Run the script of make gpu on the CPU with tiny networks.
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 $(BIN)/python tests/gpu --device cpu --tiny -o .gpu-rehearsal.json

check: $(VENV)/installed  ## Check lint, format and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/installed  ## Write docs/cli.md and the README's table of rewards from the code.
	$(BIN)/python docs/write.py

perf: $(VENV)/installed  ## Measure speed as ratios, both sides in one run.
	$(BIN)/python tests/perf/scoring.py
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/perf/videoalign.py

perf-train: $(VENV)/installed  ## Compare a training step with the bare calls of its networks.
	$(BIN)/python -W ignore tests/perf/training.py 5
	$(BIN)/python -W ignore tests/perf/overlap.py 5

perf-train-upstream: $(VENV)/installed  ## Compare training with DanceGRPO and Flow-GRPO; CLONES=folder of the repositories.
	@test -d "$(CLONES)/DanceGRPO" || { echo "CLONES names a folder with clones of XueZeyue/DanceGRPO and yifan123/flow_grpo" >&2; exit 2; }
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/perf/upstream_training.py 3 $(CLONES)/DanceGRPO $(CLONES)/flow_grpo

perf-hps: $(ORACLE)/installed  ## Compare hps.v2.1 with the package hpsv2 on the same checkpoint.
	PYTHONPATH=.:tests $(ORACLE)/bin/python -W ignore tests/perf/hps.py

test-data: $(VENV)/installed  ## Run the tests on real files: make test-data REWARDKIT_TEST_DATA=folder
	$(BIN)/python -m pytest -m data

test-browser: $(VENV)/installed  ## Test the leaderboard page in Chromium.
	$(BIN)/python -m pytest -m browser

# Upstream's scorers, each run by its own code, write the numbers that tests/golden holds. Their
# pins would downgrade the tests' environment, so they have environments of their own.
$(ORACLE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(ORACLE)
	grep -vE '^(pytest|protobuf)==' constraints.txt > $(ORACLE)/constraints.txt
	$(ORACLE)/bin/python -m pip install -c $(ORACLE)/constraints.txt -e '.[hpsv2]'
	@# The wheel of hpsv2 lacks its vocabulary; open_clip ships the same file.
	$(ORACLE)/bin/python -c "from importlib.util import find_spec; from pathlib import Path; from shutil import copy; f = 'bpe_simple_vocab_16e6.txt.gz'; home = lambda m: Path(find_spec(m).origin).parent; copy(home('open_clip') / f, home('hpsv2') / 'src/open_clip' / f)"
	touch $@

oracle-hpsv2: $(ORACLE)/installed  ## Write the golden files of hps.* with the package hpsv2.
	PYTHONPATH=.:tests $(ORACLE)/bin/python -W ignore tests/oracle/hps.py

$(UPSTREAM)/installed: constraints.txt
	$(PYTHON) -m venv $(UPSTREAM)
	grep -E '^(torch|torchvision|nvidia|cuda|numpy|pillow|pydantic)' constraints.txt > $(UPSTREAM)/constraints.txt
	$(UPSTREAM)/bin/python -m pip install -c $(UPSTREAM)/constraints.txt torchvision transformers==4.49.0 timm fairscale ftfy regex pydantic scikit-learn torchmetrics==1.9.0 piq==0.8.0
	touch $@

oracle-upstream: $(UPSTREAM)/installed  ## Write the golden files of the other networks; CLONES=folder of the repositories.
	@test -d "$(CLONES)/CLIP" || { echo "CLONES names a folder with clones of openai/CLIP, jmhessel/clipscore, LAION-AI/aesthetic-predictor, christophschuhmann/improved-aesthetic-predictor, yuvalkirstain/PickScore and THUDM/ImageReward" >&2; exit 2; }
	PYTHONPATH=.:tests $(UPSTREAM)/bin/python -W ignore tests/oracle/clipscore.py $(CLONES)/clipscore $(CLONES)/CLIP
	PYTHONPATH=.:tests $(UPSTREAM)/bin/python -W ignore tests/oracle/laion_aesthetic.py $(CLONES)/aesthetic-predictor $(CLONES)/improved-aesthetic-predictor $(CLONES)/CLIP
	PYTHONPATH=.:tests $(UPSTREAM)/bin/python -W ignore tests/oracle/pickscore.py $(CLONES)/PickScore $(CLONES)/CLIP
	PYTHONPATH=.:tests $(UPSTREAM)/bin/python -W ignore tests/oracle/clip_iqa.py $(CLONES)/CLIP
	PYTHONPATH=.:tests $(UPSTREAM)/bin/python -W ignore tests/oracle/imagereward.py $(CLONES)/ImageReward

# Trainers need nothing that would change the tests' environment.
oracle-grpo: $(VENV)/installed  ## Write the golden files of training; CLONES=folder of the repositories.
	@test -d "$(CLONES)/DanceGRPO" || { echo "CLONES names a folder with clones of XueZeyue/DanceGRPO, kvablack/ddpo-pytorch, yifan123/flow_grpo, IamCreateAI/FlowCPS, NVlabs/DiffusionNFT, scxue/advantage_weighted_matching, X-GenGroup/Flow-Factory and CostaliyA/Flow-OPD" >&2; exit 2; }
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/oracle/dancegrpo.py $(CLONES)/DanceGRPO
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/oracle/ddpo.py $(CLONES)/ddpo-pytorch
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/oracle/flow_grpo.py $(CLONES)/flow_grpo $(CLONES)/FlowCPS
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/oracle/diffusion_nft.py $(CLONES)/DiffusionNFT
	PYTHONPATH=.:tests $(BIN)/python -W ignore tests/oracle/flow_factory.py $(CLONES)/advantage_weighted_matching $(CLONES)/Flow-Factory $(CLONES)/Flow-OPD

# mmdet and mmcv are read as sources: neither is built, and on the CPU neither needs to be.
$(GENEVAL)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GENEVAL)
	$(GENEVAL)/bin/python -m pip install -c constraints.txt -e '.[dev]' addict matplotlib pycocotools six terminaltables yapf
	$(GENEVAL)/bin/python -m pip install --no-deps -t $(GENEVAL)/clip_benchmark clip_benchmark==1.4.0
	$(GENEVAL)/bin/python -m pip install --no-deps -t $(GENEVAL)/mmdet mmdet==2.28.2
	$(GENEVAL)/bin/python -m pip download --no-deps --no-binary :all: --no-build-isolation -d $(GENEVAL) mmcv==1.7.2
	mkdir -p $(GENEVAL)/mmcv && tar xf $(GENEVAL)/mmcv-1.7.2.tar.gz -C $(GENEVAL)/mmcv --strip-components 1
	touch $@

oracle-geneval: $(GENEVAL)/installed  ## Write the golden files of GenEval; CLONES=folder of the repositories.
	@test -d "$(CLONES)/geneval" || { echo "CLONES names a folder with a clone of djghosh13/geneval" >&2; exit 2; }
	PYTHONPATH=.:tests $(GENEVAL)/bin/python -W ignore tests/oracle/geneval.py $(CLONES)/geneval $(GENEVAL)/clip_benchmark
	PYTHONPATH=.:tests $(GENEVAL)/bin/python -W ignore tests/oracle/geneval_detector.py $(GENEVAL)/mmdet $(GENEVAL)/mmcv

# What upstream imports for training is there too; flash attention is not: its oracle runs on the CPU.
$(VIDEOALIGN)/installed: constraints.txt
	$(PYTHON) -m venv $(VIDEOALIGN)
	grep -E '^(torch|torchvision|nvidia|cuda|numpy|pillow|pydantic)' constraints.txt > $(VIDEOALIGN)/constraints.txt
	$(VIDEOALIGN)/bin/python -m pip install -c $(VIDEOALIGN)/constraints.txt torchvision pydantic rich transformers==4.45.2 peft==0.10.0 trl==0.8.6 accelerate==0.34.2 datasets==2.21.0 decord==0.6.0
	touch $@

oracle-videoalign: $(VIDEOALIGN)/installed  ## Write the golden file of VideoAlign; CLONES=folder of the repositories, REWARDKIT_TEST_DATA=folder.
	@test -d "$(CLONES)/VideoAlign" || { echo "CLONES names a folder with a clone of KwaiVGI/VideoAlign" >&2; exit 2; }
	@test -d "$(REWARDKIT_TEST_DATA)/videoalign" || { echo "REWARDKIT_TEST_DATA names the folder of real files, with videoalign/ and video/" >&2; exit 2; }
	PYTHONPATH=.:tests $(VIDEOALIGN)/bin/python -W ignore tests/oracle/videoalign.py $(CLONES)/VideoAlign $(REWARDKIT_TEST_DATA)

# The package itself asks for libraries of a GPU, and is read as it is.
$(VIDEOALIGN)/hpsv3/installed: $(VIDEOALIGN)/installed
	$(VIDEOALIGN)/bin/python -m pip install --no-deps -t $(VIDEOALIGN)/hpsv3 hpsv3==1.0.0
	touch $@

oracle-hpsv3: $(VIDEOALIGN)/hpsv3/installed  ## Write the golden file of hps.v3 with the package hpsv3.
	PYTHONPATH=.:tests $(VIDEOALIGN)/bin/python -W ignore tests/oracle/hpsv3.py $(VIDEOALIGN)/hpsv3

clean:  ## Remove the environment and the output of demo and tests.
	rm -rf $(VENV) .oracle .gpu-rehearsal.json demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
