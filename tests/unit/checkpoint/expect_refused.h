// The claim that a user's file or setting is refused with a message that says why.
#pragma once

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <string>

namespace titan::checkpoint {

template <class Action>
void expect_refused(Action&& action, const std::string& reason) {
  try {
    action();
    ADD_FAILURE() << "accepted; expected an error with: " << reason;
  } catch (const c10::ValueError& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(reason), std::string::npos)
        << "expected: " << reason << "\ngot: " << error.what_without_backtrace();
  }
}

}  // namespace titan::checkpoint
