// SPDX-License-Identifier: GPL-2.0-or-later
// The compiled part of Boost.JSON, once.
#include <boost/json/src.hpp>
