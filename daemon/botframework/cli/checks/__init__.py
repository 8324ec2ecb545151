"""What `botframework doctor` looks at: each module has the checks of one matter, each check tells what it found."""
