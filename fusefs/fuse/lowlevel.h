// The one place that includes libfuse; only sources of this folder may include this header.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
