// A shared library that is no library of models.
extern "C" int unrelated() { return 1; }
