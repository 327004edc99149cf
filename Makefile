# Short names for dev.py, which is where everything happens: `make test ARGS="-k retry"`.
.PHONY: demo test check lock
demo test check lock:
	@python3 dev.py $@ $(ARGS)
