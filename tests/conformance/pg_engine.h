// The PostgreSQL store on a private cluster, as an engine of the suite.
#pragma once

#include <memory>

#include "tests/conformance/suite.h"

namespace linkspan::test {

std::unique_ptr<Engine> make_pg_engine();

}  // namespace linkspan::test
