# Short names for dev.py, which is where everything happens: `make test ARGS="-k retry"`.
.PHONY: demo test check crash lock
demo test check crash lock:
	@python3 dev.py $@ $(ARGS)
