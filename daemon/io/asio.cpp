// SPDX-License-Identifier: GPL-2.0-or-later
// The compiled part of Boost.Asio, once.
#include <boost/asio/impl/src.hpp>
