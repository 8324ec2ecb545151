# Paths of source files in assertions are relative ones: two builds in different folders are then the same, and no
# folder of the machine that built them is told. Passed as CMAKE_PROJECT_TOP_LEVEL_INCLUDES (CMake 3.24).
if(NOT CMAKE_HOST_WIN32) # before the compiler is known; cl.exe has /d1trimfile instead
  add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}=llama-cpp-python")
  add_compile_options("-ffile-prefix-map=${CMAKE_BINARY_DIR}=build")
endif()
