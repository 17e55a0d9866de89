-- KEYS: lease. ARGV: milliseconds of the lease.
hold(KEYS[1], ARGV[1])
return 1
