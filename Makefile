# Short names for dev.py, which is where everything happens: `make test ARGS="-k retry"`.
.PHONY: demo test check crash damage faults quota weigh cover pages lock
demo test check crash damage faults quota weigh cover pages lock:
	@python3 dev.py $@ $(ARGS)
