#include "linkspan/convert.h"
